#!/usr/bin/env bash
# Checks in a real AWS account what the local tests assume about AWS, and prints what it finds.
#
# Usage: scripts/check_in_aws.sh [STACK]
#
# Needs the AWS CLI, curl and python3, credentials for a test account, and AWS_REGION. With STACK, the name
# of the function's deployed stack, it also checks a direct call and a mirror. For the mirror the stack needs
# its parameter MirrorBucket; set MIRROR_BUCKET to a bucket's name, and this script sets the parameter.
# It creates ECR repositories, a role and a stack, and deletes them. Uploading the large layer sends LAYER_GIB
# (default 12) GiB to ECR; set LAYER_GIB=0 to skip it.
set -euo pipefail

stack=${1:-}
region=${AWS_REGION:?set AWS_REGION}
layer_gib=${LAYER_GIB:-12}
account=$(aws sts get-caller-identity --query Account --output text)
host="$account.dkr.ecr.$region.amazonaws.com"
name="replicator-check-$$"
umask 077
work=$(mktemp -d)

found() { printf '%-34s %s\n' "$1" "$2"; }

clean_up() {
  aws cloudformation delete-stack --stack-name "$name" >/dev/null 2>&1 || true
  aws ecr delete-repository --repository-name "$name" --force >/dev/null 2>&1 || true
  aws ecr delete-repository --repository-name "$name-mirror" --force >/dev/null 2>&1 || true
  aws iam delete-role-policy --role-name "$name" --policy-name check >/dev/null 2>&1 || true
  aws iam delete-role --role-name "$name" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT

output() { # STACK NAME
  aws cloudformation describe-stacks --stack-name "$1" --output text \
    --query "Stacks[0].Outputs[?OutputKey=='$2'].OutputValue"
}

# The password is passed to curl in a file, so that it is in no list of processes.
login() {
  printf 'user = "AWS:%s"\n' "$(aws ecr get-login-password)" >"$work/ecr.curl"
}

request() { curl --silent --show-error --config "$work/ecr.curl" "$@"; }

# Prints the location of a new upload.
start_upload() {
  request --request POST --dump-header - --output /dev/null "https://$host/v2/$name/blobs/uploads/" |
    tr -d '\r' | sed -n 's/^[Ll]ocation: //p'
}

push_blob() { # FILE
  local digest location separator='?'
  digest="sha256:$(sha256sum "$1" | cut -d' ' -f1)"
  location=$(start_upload)
  [[ $location == /* ]] && location="https://$host$location"
  [[ $location == *\?* ]] && separator='&'
  request --request PUT --header 'Content-Type: application/octet-stream' --upload-file "$1" \
    --output /dev/null --write-out '%{http_code} after %{time_total} s (first byte of the response at %{time_starttransfer} s)' \
    "$location${separator}digest=$digest"
}

manifest() { # CONFIG_FILE LAYER_DIGEST LAYER_SIZE
  printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%s},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"%s","size":%s}]}' \
    "$(sha256sum "$1" | cut -d' ' -f1)" "$(stat -c %s "$1")" "$2" "$3"
}

put_manifest() { # FILE TAG TYPE
  request --request PUT --header "Content-Type: $3" --data-binary "@$1" --write-out '\n%{http_code}' \
    "https://$host/v2/$name/manifests/$2"
}

image_type=application/vnd.oci.image.manifest.v1+json
index_type=application/vnd.oci.image.index.v1+json
aws ecr create-repository --repository-name "$name" >/dev/null
login

echo '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}' >"$work/config"
head -c 1000 /dev/urandom | gzip -n >"$work/layer"
layer_digest="sha256:$(sha256sum "$work/layer" | cut -d' ' -f1)"
layer_size=$(stat -c %s "$work/layer")

found 'blob of 1 kB' "$(push_blob "$work/layer")"
push_blob "$work/config" >/dev/null

# 1. A manifest whose layer is missing: status, code and text.
manifest "$work/config" "sha256:$(printf '0%.0s' {1..64})" 10 >"$work/missing"
found 'manifest with a missing layer' "$(put_manifest "$work/missing" missing "$image_type" | tr '\n' ' ')"

# 2. Untagging an image that an index refers to.
manifest "$work/config" "$layer_digest" "$layer_size" >"$work/image"
put_manifest "$work/image" child "$image_type" >/dev/null
printf '{"schemaVersion":2,"mediaType":"%s","manifests":[{"mediaType":"%s","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}}]}' \
  "$index_type" "$image_type" "$(sha256sum "$work/image" | cut -d' ' -f1)" "$(stat -c %s "$work/image")" >"$work/index"
put_manifest "$work/index" index "$index_type" >/dev/null
found 'untagging a child of an index' "$(aws ecr batch-delete-image --repository-name "$name" \
  --image-ids imageTag=child --query '[imageIds, failures]' --output json | tr -d ' \n')"

# 3. ECR Public: anonymous and authenticated token, and what an expired one gives.
found 'ECR Public, anonymous token' "$(curl --silent --output /dev/null --write-out '%{http_code}' \
  'https://public.ecr.aws/token/?service=public.ecr.aws&scope=repository:docker/library/alpine:pull')"
printf 'header = "Authorization: Bearer %s"\n' "$(aws ecr-public get-authorization-token --region us-east-1 \
  --query authorizationData.authorizationToken --output text)" >"$work/public.curl"
found 'ECR Public, with its token' "$(curl --silent --config "$work/public.curl" --output /dev/null \
  --write-out '%{http_code}' https://public.ecr.aws/v2/docker/library/alpine/manifests/latest)"
found 'ECR Public, with a wrong token' "$(curl --silent --header 'Authorization: Bearer wrong' \
  --write-out ' %{http_code}' https://public.ecr.aws/v2/docker/library/alpine/manifests/latest | head -c 300 | tr '\n' ' ')"

# 4. How long a new permission is denied: a new role with sts:AssumeRole for this caller.
caller=$(aws sts get-caller-identity --query Arn --output text)
principal="arn:aws:iam::$account:root"
aws iam create-role --role-name "$name" --assume-role-policy-document \
  "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"$principal\"},\"Action\":\"sts:AssumeRole\"}]}" >/dev/null
started=$(date +%s)
until aws sts assume-role --role-arn "arn:aws:iam::$account:role/$name" --role-session-name check \
  >"$work/session" 2>/dev/null; do
  [ $(($(date +%s) - started)) -lt 180 ] || break
  sleep 1
done
found "assuming a new role as ${caller##*/}" "after $(($(date +%s) - started)) s"
if [ -s "$work/session" ]; then
  aws iam put-role-policy --role-name "$name" --policy-name check --policy-document \
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"ecr:DescribeImages\",\"Resource\":\"*\"}]}"
  session() { python3 -c "import json,sys; print(json.load(open('$work/session'))['Credentials']['$1'])"; }
  started=$(date +%s)
  until AWS_ACCESS_KEY_ID=$(session AccessKeyId) AWS_SECRET_ACCESS_KEY=$(session SecretAccessKey) \
    AWS_SESSION_TOKEN=$(session SessionToken) aws ecr describe-images --repository-name "$name" >/dev/null 2>&1; do
    [ $(($(date +%s) - started)) -lt 180 ] || break
    sleep 1
  done
  found 'a new inline policy takes effect' "after $(($(date +%s) - started)) s"
fi

# 5. The function: one direct call that copies the image to another tag.
if [ -n "$stack" ]; then
  function=$(output "$stack" FunctionName)
  aws lambda invoke --function-name "$function" --cli-binary-format raw-in-base64-out --payload \
    "{\"SrcImage\":\"$host/$name:index\",\"DestImage\":\"$host/$name:copied\",\"Platforms\":\"all\"}" \
    "$work/values" >/dev/null
  found 'a direct call of the function' "$(head -c 300 "$work/values")"
fi

# 6. A mirror of three tags: the first run, a scheduled one, an update, a stopped execution, the deletion.
parameter() { # NAME
  aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].Parameters[?ParameterKey=='$1'].ParameterValue"
}

enable_mirrors() { # BUCKET
  local key others=()
  for key in $(aws cloudformation describe-stacks --stack-name "$stack" --output text \
    --query "Stacks[0].Parameters[?ParameterKey!='MirrorBucket'].ParameterKey"); do
    others+=("ParameterKey=$key,UsePreviousValue=true")
  done
  aws cloudformation update-stack --stack-name "$stack" --use-previous-template \
    --capabilities CAPABILITY_IAM CAPABILITY_AUTO_EXPAND \
    --parameters "ParameterKey=MirrorBucket,ParameterValue=$1" "${others[@]}" >/dev/null
  aws cloudformation wait stack-update-complete --stack-name "$stack"
}

push_tags() {
  local tag
  for tag in 1.0 1.1 1.2; do
    printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{"Labels":{"tag":"%s"}}}' \
      "$tag" >"$work/config"
    push_blob "$work/config" >/dev/null
    manifest "$work/config" "$layer_digest" "$layer_size" >"$work/image"
    put_manifest "$work/image" "$tag" "$image_type" >/dev/null
  done
}

write_mirror_template() { # SERVICE_TOKEN
  cat >"$work/mirror.yaml" <<END
Parameters:
  Run:
    Type: String
  Host:
    Type: String
    Default: $host
Resources:
  Mirror:
    Type: Custom::ECRImageMirror
    Properties:
      ServiceToken: $1
      Schedule: rate(1 day)
      Trigger: !Ref Run
      Repositories:
        - SrcRepository: !Sub \${Host}/$name
          DestRepository: $host/$name-mirror
          Versions: 1.*
Outputs:
  Id:
    Value: !Ref Mirror
  ReportUri:
    Value: !GetAtt Mirror.ReportUri
  ExecutionArn:
    Value: !GetAtt Mirror.ExecutionArn
  Counts:
    Value: !Sub "chosen \${Mirror.Chosen}, copied \${Mirror.Copied}, unchanged \${Mirror.Unchanged}, failed \${Mirror.Failed}"
END
}

deploy_mirror() { # RUN
  aws cloudformation deploy --stack-name "$name" --template-file "$work/mirror.yaml" \
    --parameter-overrides "Run=$1" >/dev/null
}

running_execution() { # MACHINE
  aws stepfunctions list-executions --state-machine-arn "$1" --status-filter RUNNING --output text \
    --query 'executions[0].executionArn' | grep -v None
}

run_schedule() { # BUCKET REPORT_URI
  local run=${2#*/mirrors/} at key
  run=${run%/report.json}
  at=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  aws lambda invoke --function-name "$function" --cli-binary-format raw-in-base64-out --payload \
    "{\"Mirror\":{\"Step\":\"Start\",\"Run\":\"$run\",\"At\":\"$at\"}}" "$work/started" >/dev/null
  key="mirrors/${run%/*}/scheduled-${at//[-:]/}/report.json"
  aws s3api wait object-exists --bucket "$1" --key "$key"
  aws s3 cp "s3://$1/$key" - |
    python3 -c 'import json,sys; s = json.load(sys.stdin)["Summary"]; print(*(f"{n.lower()} {s[n]}" for n in ("Copied", "Unchanged", "Failed", "BytesCopied")))'
}

# Stops the execution of an update whose source does not respond, and prints why the update failed.
stop_update() { # MACHINE
  local execution
  aws cloudformation update-stack --stack-name "$name" --use-previous-template --parameters \
    ParameterKey=Run,ParameterValue=3 ParameterKey=Host,ParameterValue=192.0.2.1 >/dev/null
  until execution=$(running_execution "$1"); do sleep 1; done
  aws stepfunctions stop-execution --execution-arn "$execution" >/dev/null
  aws cloudformation wait stack-rollback-complete --stack-name "$name"
  aws cloudformation describe-stack-events --stack-name "$name" --output text \
    --query "StackEvents[?LogicalResourceId=='Mirror' && ResourceStatus=='UPDATE_FAILED'].ResourceStatusReason | [0]"
}

check_mirror() { # BUCKET
  local machine id uri
  machine=$(output "$stack" MirrorStateMachine)
  aws ecr create-repository --repository-name "$name-mirror" >/dev/null
  push_tags
  write_mirror_template "$(output "$stack" ServiceToken)"
  deploy_mirror 1
  found 'a mirror of three tags' "$(output "$name" Counts)"
  found 'map runs of its execution' "$(aws stepfunctions list-map-runs --output text --query 'length(mapRuns)' \
    --execution-arn "$(output "$name" ExecutionArn)")"
  id=$(output "$name" Id)
  uri=$(output "$name" ReportUri)
  found 'the next run, as scheduled' "$(run_schedule "$1" "$uri")"
  deploy_mirror 2
  found 'an update of the mirror' "$(output "$name" Counts)"
  found 'a stopped execution' "$(stop_update "$machine" | head -c 300)"
  aws cloudformation delete-stack --stack-name "$name"
  aws cloudformation wait stack-delete-complete --stack-name "$name"
  found 'schedules after the deletion' "$(aws scheduler list-schedules --group-name "$stack-mirrors" \
    --output text --query "length(Schedules[?Name=='$id'])")"
  found 'state after the deletion' "$(aws s3 ls --recursive "s3://$1/mirrors/$id/" | wc -l) objects"
  found 'tags after the deletion' "$(aws ecr list-images --repository-name "$name-mirror" --output text \
    --query 'length(imageIds)')"
}

if [ -n "$stack" ]; then
  bucket=$(parameter MirrorBucket)
  if [ -z "$bucket" ] && [ -n "${MIRROR_BUCKET:-}" ]; then
    bucket=$MIRROR_BUCKET
    enable_mirrors "$bucket"
  fi
  if [ -n "$bucket" ]; then
    check_mirror "$bucket"
  else
    found 'a mirror' 'not checked: set MIRROR_BUCKET'
  fi
fi

# 7. The response time for a large layer: from the last byte to the response.
if [ "$layer_gib" -gt 0 ]; then
  truncate -s "${layer_gib}G" "$work/large"
  found "blob of $layer_gib GiB" "$(push_blob "$work/large")"
fi
