# An image in ECR, copied by a CloudFormation stack that Terraform manages.
#
#   terraform init && terraform apply
#
# The stack has the whole life cycle of Custom::ECRImage: long copies, updates, deletion.

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

variable "replicator_stack" {
  description = "The name of the replicator's stack."
  type        = string
  default     = "ecr-image-replicator"
}

resource "aws_ecr_repository" "nginx" {
  name                 = "mirror/nginx"
  image_tag_mutability = "IMMUTABLE"
}

resource "aws_cloudformation_stack" "image" {
  name = "mirror-nginx-image"

  template_body = jsonencode({
    Resources = {
      Image = {
        Type = "Custom::ECRImage"
        Properties = {
          ServiceToken = { "Fn::ImportValue" = "${var.replicator_stack}-ServiceToken" }
          SrcImage     = "${var.source_repository}:${var.tag}"
          DestImage    = "${aws_ecr_repository.nginx.repository_url}:${var.tag}"
          Platforms    = ["linux/amd64", "linux/arm64"]
        }
      }
    }
    Outputs = {
      ImageUri = { Value = { "Fn::GetAtt" = ["Image", "ImageUri"] } }
    }
  })
}

output "image_uri" {
  description = "The image, by digest."
  value       = aws_cloudformation_stack.image.outputs["ImageUri"]
}
