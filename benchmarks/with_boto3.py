"""The function with boto3 and an ECR client loaded, as after a copy to ECR."""

from __future__ import annotations

import boto3

from app import lambda_handler

__all__ = ["lambda_handler"]

CLIENT = boto3.client("ecr")
