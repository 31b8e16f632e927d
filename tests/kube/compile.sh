#!/bin/bash
# compile.sh WORK OUT VERSION COMPONENT...: Debian's kubernetes source package VERSION to static, stripped programs
# in OUT. All else stays in WORK (2 GB), which the caller removes. Its text is part of the cache's key.
set -euo pipefail
work=$1 out=$2 version=$3; shift 3
here=$(dirname "$(readlink -f "$0")")
say() { echo "[$(date +%T)] $*" >&2; }
mkdir -p "$work"/{sources.d,lists/partial,archives/partial,go,gopath/src/k8s.io,home,tmp} "$out"; cd "$work"

# The machine's own mirrors and keys, asked for sources, in a list of our own: /etc/apt stays as it is.
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -e "$list" ] || continue
  sed -E 's/^Types:.*/Types: deb-src/; s/^deb[[:space:]]/deb-src /' "$list" > "sources.d/${list##*/}"
done
apt_source=(apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/sources.d"
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache::Archives=$work/archives" -o Dir::Cache::pkgcache=
  -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
"${apt_source[@]}" update >apt.log 2>&1 || say "some list of sources failed; what is missing shows next"
"${apt_source[@]}" source --download-only "kubernetes=$version" >>apt.log 2>&1 || { tail -n 30 apt.log >&2; exit 1; }
# apt has checked the files against its signed index; the uploader's own signature cannot be checked here.
dpkg-source --no-check -x kubernetes_*.dsc kubernetes >/dev/null
ln -sfn "$work/kubernetes" gopath/src/k8s.io/kubernetes
say "kubernetes $version unpacked"

# Debian 12's own Go, unpacked and not installed: it serves this once.
(cd archives && apt-get -q -o APT::Sandbox::User=root download golang-1.19-go golang-1.19-src >/dev/null &&
  for package in golang*.deb; do dpkg -x "$package" "$work/go"; done)
export GOROOT=$work/go/usr/lib/go-1.19 GOPATH=$work/gopath GOCACHE=$work/gocache GOTMPDIR=$work/tmp HOME=$work/home
export GO111MODULE=off GOPROXY=off GOFLAGS='' CGO_ENABLED=0 PATH=$GOROOT/bin:$PATH
cd "$GOPATH/src/k8s.io/kubernetes"

# The OpenAPI definitions are generated, and not in the source package; their generator is, vendored.
go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
tagged=$(grep -rl '+k8s:openapi-gen=' --include='*.go' pkg cmd plugin staging/src/k8s.io |
  grep -vE 'staging/src/k8s.io/(code-generator|sample-apiserver)/|zz_generated|_test.go' |
  xargs -n1 dirname | sed 's#^staging/src/#vendor/#' | sort -u | sed 's#^#k8s.io/kubernetes/#' | paste -sd,)
"$work/openapi-gen" --logtostderr -h hack/boilerplate/boilerplate.generatego.txt -i "$tagged" \
  -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi -r "$work/violations.txt"

# The kubelet's credential plugins for three clouds ask a link-local address at start; without a route each of
# them waits for its timeout. The tag `providerless` does not leave them out.
sed -i '\#credentialprovider/\(aws\|azure\|gcp\)"#d' cmd/kubelet/app/plugins.go cmd/kubelet/app/options/globalflags.go

release=v$(sed -E 's/.*really//; s/-[^-]*$//' <<<"$version")
flags="-s -w"
for package in k8s.io/kubernetes/vendor/k8s.io/component-base/version k8s.io/kubernetes/vendor/k8s.io/client-go/pkg/version; do
  flags+=" -X $package.gitVersion=$release -X $package.gitMajor=1 -X $package.gitMinor=20 -X $package.gitTreeState=archive"
done
for component; do
  if [ "$component" = pause ]; then package=$here/pause.go; else package=./cmd/$component; fi
  go build -trimpath -tags providerless,dockerless -ldflags "$flags" -o "$out/.$component" "$package"
  mv "$out/.$component" "$out/$component"; say "$component: $(($(stat -c %s "$out/$component") / 1000000)) MB"
done
