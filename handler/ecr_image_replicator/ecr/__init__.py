"""Private ECR as the destination."""
