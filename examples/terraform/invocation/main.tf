# An image in ECR, copied by a direct call of the replicator's function.
#
#   terraform init && terraform apply -var function_name=FUNCTION
#
# The copy must fit one invocation (15 minutes). A failure fails the apply with the function's
# message. Destroying the resource keeps the image and its tags.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "source_repository" {
  description = "The repository to copy from."
  type        = string
  default     = "public.ecr.aws/docker/library/nginx"
}

variable "tag" {
  description = "The tag, at the source and in ECR."
  type        = string
  default     = "1.27"
}

variable "function_name" {
  description = "The replicator's function: the FunctionName output of its stack."
  type        = string
}

resource "aws_ecr_repository" "nginx" {
  name                 = "mirror/nginx"
  image_tag_mutability = "IMMUTABLE"
}

resource "aws_lambda_invocation" "image" {
  function_name   = var.function_name
  lifecycle_scope = "CRUD"

  input = jsonencode({
    SrcImage  = "${var.source_repository}:${var.tag}"
    DestImage = "${aws_ecr_repository.nginx.repository_url}:${var.tag}"
    Platforms = ["linux/amd64", "linux/arm64"]
  })
}

output "image_uri" {
  description = "The image, by digest."
  value       = jsondecode(aws_lambda_invocation.image.result)["ImageUri"]
}
