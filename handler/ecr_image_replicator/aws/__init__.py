"""boto3: sessions, roles, S3, Secrets Manager, KMS, ECR authentication and Lambda invocation.

boto3 takes longer to import than a small image takes to copy, so it is imported with the first
call.
"""
