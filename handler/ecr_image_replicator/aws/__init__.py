"""Everything that needs boto3: identities and clients, ECR, ECR Public, Secrets Manager, Lambda.

boto3 takes longer to import than a small image takes to copy, so it is imported when the first
call is made.
"""
