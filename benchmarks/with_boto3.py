"""The function with boto3 and a client of ECR's in memory, as after a copy into ECR."""

from __future__ import annotations

import boto3

from app import lambda_handler

__all__ = ["lambda_handler"]

CLIENT = boto3.client("ecr")
