import { App, CfnOutput, CustomResource, Fn, Stack } from "aws-cdk-lib";
import { Repository, TagMutability } from "aws-cdk-lib/aws-ecr";

const app = new App();
const stack = new Stack(app, "ReplicatedImage");
const repository = new Repository(stack, "Repository", {
  imageTagMutability: TagMutability.IMMUTABLE,
});

const image = new CustomResource(stack, "Image", {
  resourceType: "Custom::ECRImage",
  serviceToken: Fn.importValue("ecr-image-replicator-ServiceToken"),
  properties: {
    SrcImage: "public.ecr.aws/docker/library/nginx:1.27",
    DestImage: repository.repositoryUriForTag("1.27"),
    Platforms: ["linux/amd64", "linux/arm64"],
  },
});

new CfnOutput(stack, "ImageUri", { value: image.getAttString("ImageUri") });
