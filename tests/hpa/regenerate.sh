#!/usr/bin/env bash
# Writes tests/fixtures/hpa_vectors.json.gz: what the genuine HorizontalPodAutoscaler controller computes. See README.md.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${HPA_WORK:-$(mktemp -d)}
export GOTOOLCHAIN=local GOWORK=off CGO_ENABLED=0 GOFLAGS="-buildvcs=false -modcacherw -mod=mod"

# The module of the sandbox pins the version; a copy of it, so that nothing in the checkout changes.
mkdir -p "$work/module"
cp "$root"/sandbox/controlplane/go.{mod,sum} "$work/module/"
cd "$work/module"
go mod download k8s.io/kubernetes
version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)

# Go lays no file over its module cache, so the package is tested in a copy of the module (hard links where possible).
genuine=$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)
rm -rf "$work/kubernetes"
cp -rl "$genuine" "$work/kubernetes" 2>/dev/null || cp -r "$genuine" "$work/kubernetes"
package=$work/kubernetes/pkg/controller/podautoscaler
rm -f "$package"/*_test.go # only ours: theirs need fakes of half of Kubernetes
cp "$here/vectors_test.go" "$package/"
go mod edit -replace "k8s.io/kubernetes=$work/kubernetes"

HPA_VECTORS=$work/vectors.json go test -vet=off -count=1 -run TestVectors k8s.io/kubernetes/pkg/controller/podautoscaler
"${PYTHON:-python3}" "$here/pack.py" "$work/vectors.json" "$version" "$root/tests/fixtures/hpa_vectors.json.gz"
