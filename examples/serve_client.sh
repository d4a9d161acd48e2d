#!/bin/sh
# Sends images to `jaxqc serve` with curl; prints the answers as JSON, and the lot at the end.
# sh examples/serve_client.sh http://127.0.0.1:8000 L-17 plates/*.png
set -eu
server=$1 lot=$2
shift 2
for image in "$@"; do
  # 503 says when to try again; curl waits so long by itself.
  curl --silent --show-error --fail-with-body --retry 5 --header "Authorization: Bearer ${JAXQC_TOKEN:-none}" \
    --form "image=@$image" --form "lot=$lot" "$server/v1/inspect"
  echo
done
curl --silent --show-error --fail-with-body --header "Authorization: Bearer ${JAXQC_TOKEN:-none}" --get \
  --data-urlencode "lot=$lot" "$server/v1/images"
echo
