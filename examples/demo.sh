#!/usr/bin/env bash
# Applies examples/tumour, shows the training move, waits until the model is served and asks it for predictions
# through its Service. `make demo` runs it where kubectl reaches the cluster; NAMESPACE says where (default).
set -euo pipefail
cd "$(dirname "$0")"
namespace=${NAMESPACE:-default}
limit=300 # seconds for the training; it takes a few, and the pod's start

k() { kubectl --namespace "$namespace" "$@"; }
why() {
  k get "$1" --output jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{"\n"}{end}' >&2
}

echo "--- kubectl apply -k examples/tumour"
k apply --kustomize tumour

echo "--- the training"
shown=
for ((started = SECONDS; ; )); do
  row=$(k get mtrain tumour --no-headers)
  state=${row% *} # without the age, which always changes
  if [[ $state != "$shown" ]]; then
    echo "$row"
    shown=$state
  fi
  case $(k get mtrain tumour --output jsonpath='{.status.phase}') in
    Succeeded) break ;;
    Rejected | Failed)
      why mtrain/tumour
      exit 1
      ;;
  esac
  if ((SECONDS - started > limit)); then
    echo "the training did not end within $limit s" >&2
    why mtrain/tumour
    exit 1
  fi
  sleep 0.5
done
k get mtrain tumour --output \
  jsonpath='{range .status.gates[*]}gate: {.metric} {.required}, reached {.observed}{"\n"}{end}'

echo "--- the deployment"
if ! k wait --for=condition=Ready --timeout=180s mdep/tumour; then
  why mdep/tumour
  exit 1
fi

echo "--- kubectl get mtrain,mdep"
k get mtrain,mdep

# http://SERVICE.NAMESPACE.svc…[:PORT]…, asked through the API server, which is all that kubectl reaches.
url=$(k get mdep tumour --output jsonpath='{.status.url}')
address=${url#http://}
address=${address%%/*}
service=${address%%.*}
port=80
[[ $address == *:* ]] && port=${address##*:}
predict="/api/v1/namespaces/$namespace/services/http:$service:$port/proxy/v1/models/tumour:predict"

echo "--- predictions by $url"
table=tumour/data/tumours.csv
question=$(mktemp)
trap 'rm -f "$question"' EXIT
for line in 20 21 100 300 500; do
  awk -F, -v line="$line" '
    NR == 1 { for (i = 1; i < NF; i++) name[i] = $i }
    NR == line {
      printf "{\"instances\": [{"
      for (i = 1; i < NF; i++) printf "%s\"%s\": %s", (i > 1 ? ", " : ""), name[i], $i
      print "}]}"
    }' "$table" >"$question"
  answer=$(kubectl create --raw "$predict" --filename "$question")
  label=$(awk -F, -v line="$line" 'NR == line { print $NF }' "$table")
  printf 'row %3d is %-9s  answer: %s\n' "$line" "$label" "$(tr -d '[:space:]' <<<"$answer")"
done
