"""Amazon ECR and ECR Public as the destination of an image."""
