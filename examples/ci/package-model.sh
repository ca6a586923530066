#!/bin/sh
# package-model.sh: from a checkpoint to a scanned, signed and attested image in a registry.
#
# One script for every CI system; what it is told, it is told by the environment:
#
#   MODEL_SOURCE            what to package: a folder, hf://org/name@revision, s3://bucket/folder
#   MODEL_IMAGE             its name: registry/repository:tag
#   MODEL_FAIL_ON           which verdict ends the job: unverified (the default), malicious, never
#   MODEL_SIGNING           keyless (the default), key, none
#   MODEL_SIGN_KEY          with key: the private key itself, or a file or a service that has it
#   MODEL_ATTEST_KEY        with key: the same for provenance, ML-BOM and verdict; another key than the one above
#   COSIGN_PASSWORD         the password of both
#   MODEL_IDENTITY_TOKEN    keyless: a file with the identity token, where the CI system's own is not found
#   MODEL_TRUST_CONFIG      keyless: a file that describes a Sigstore instance of your own
#   MODEL_ATTEST            yes or no; yes unless MODEL_SIGNING is none
#   MODEL_BASE              what the image runs; by default modelcar's holder
#   MODEL_CA_FILE           a file with the authority that signed the registry's certificate
#   MODEL_REGISTRY_USER     who logs in to the registry, with
#   MODEL_REGISTRY_PASSWORD which password; without them what is in the Docker configuration
#   MODEL_REPORTS           the folder for what is reported; by default model-reports
#   MODELCAR, PYTHON        the programs; by default modelcar and python3
#
# It leaves in MODEL_REPORTS: reference, digest, verdict, model.env (the three for a shell), scan.json, scan.sarif,
# scan.md, summary.md. Secrets are in no argument and no file, but for the registry's password in a folder that only
# this user reads, for as long as the script runs.
#
# Exit status: 0 done; 1 the scan says no, and nothing was signed or sent; 2 wrong usage; 3 the world failed.
set -eu

complain() {
	printf 'package-model: %s\n' "$1" >&2
	exit 2
}

# as_key NAME VALUE: what --key takes. The text of a key stays in the environment.
as_key() {
	case $2 in
	'') complain "MODEL_SIGNING is key, and $1 is not set" ;;
	*'-----BEGIN '*) printf 'env://%s' "$1" ;;
	*://*) printf '%s' "$2" ;;
	*)
		[ -f "$2" ] || complain "$1 is neither a private key, nor a file, nor the address of a service"
		printf '%s' "$2"
		;;
	esac
}

# field FILE NAME: a member of a JSON document.
field() {
	"$python" -c 'import json, sys; print(json.load(open(sys.argv[1], encoding="utf-8"))[sys.argv[2]])' "$1" "$2"
}

# signed COMMAND...: the command, signing as MODEL_SIGNING says.
signed() {
	if [ "$signing" = key ]; then
		"$@" --key "$sign_key"
	else
		keyless "$@"
	fi
}

# attested COMMAND...: the same for statements. One job has one identity; two keys are asked for.
attested() {
	if [ "$signing" = key ]; then
		"$@" --key "$attest_key"
	else
		keyless "$@" --allow-same-signer
	fi
}

keyless() {
	"$@" --keyless ${MODEL_TRUST_CONFIG:+--trust-config "$MODEL_TRUST_CONFIG"} \
		${MODEL_IDENTITY_TOKEN:+--identity-token "$MODEL_IDENTITY_TOKEN"}
}

# log_in: a Docker configuration of our own, which goes when the script ends.
log_in() {
	login=$(mktemp -d)
	export DOCKER_CONFIG="$login"
	"$python" - <<-'END'
		import base64, json, os
		name, password = os.environ["MODEL_REGISTRY_USER"], os.environ["MODEL_REGISTRY_PASSWORD"]
		registry = os.environ["MODEL_IMAGE"].partition("/")[0]
		login = {"auth": base64.b64encode(f"{name}:{password}".encode()).decode()}
		path = os.path.join(os.environ["DOCKER_CONFIG"], "config.json")
		with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
		    json.dump({"auths": {registry: login}}, file)
	END
}

# outputs NAME...: what is known by now, for those who come after.
outputs() {
	for name in "$@"; do
		value=$(cat "$reports/$name")
		printf 'MODEL_%s=%s\n' "$(printf '%s' "$name" | tr '[:lower:]' '[:upper:]')" "$value" >>"$reports/model.env"
		[ -z "${GITHUB_OUTPUT:-}" ] || printf '%s=%s\n' "$name" "$value" >>"$GITHUB_OUTPUT"
	done
}

# finish: at every end. A summary for people, on the page of the job; and no login stays.
finish() {
	[ -z "$login" ] || rm -rf "$login"
	[ ! -d "$reports" ] || summarise
}

summarise() {
	{
		if [ -s "$reports/reference" ]; then
			printf '## Model image\n\n<code>%s</code>\n\n' "$(cat "$reports/reference")"
		elif [ "$stage" = scan ]; then
			printf '## No model image\n\nThe scan did not let it pass: nothing was signed or sent.\n\n'
		else
			printf '## No model image\n\nThe job failed at: %s. Its log says why.\n\n' "$stage"
		fi
		[ ! -s "$reports/scan.md" ] || cat "$reports/scan.md"
		if [ -s "$reports/inspect.txt" ]; then
			printf '\n<details><summary>What is in it</summary>\n\n'
			sed 's/^/    /' "$reports/inspect.txt"
			printf '\n</details>\n'
		fi
	} >"$reports/summary.md"
	[ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$reports/summary.md" >>"$GITHUB_STEP_SUMMARY"
}

login=
stage=settings
modelcar=${MODELCAR:-modelcar}
python=${PYTHON:-python3}
reports=${MODEL_REPORTS:-model-reports}
fail_on=${MODEL_FAIL_ON:-unverified}
signing=${MODEL_SIGNING:-keyless}
attest=${MODEL_ATTEST:-}

case ${MODEL_SOURCE:-} in
'') complain 'MODEL_SOURCE does not say what to package' ;;
-*) complain 'MODEL_SOURCE begins with a dash' ;;
esac
case ${MODEL_IMAGE:-} in
'') complain 'MODEL_IMAGE does not say what to call it' ;;
-*) complain 'MODEL_IMAGE begins with a dash' ;;
esac
case $fail_on in unverified | malicious | never) ;; *) complain 'MODEL_FAIL_ON is unverified, malicious or never' ;; esac
case $signing in keyless | key | none) ;; *) complain 'MODEL_SIGNING is keyless, key or none' ;; esac
[ -n "$attest" ] || if [ "$signing" = none ]; then attest=no; else attest=yes; fi
case $attest-$signing in
yes-none) complain 'MODEL_ATTEST is yes, and MODEL_SIGNING is none: a statement needs who makes it' ;;
yes-* | no-*) ;;
*) complain 'MODEL_ATTEST is yes or no' ;;
esac
if [ "$signing" = key ]; then
	sign_key=$(as_key MODEL_SIGN_KEY "${MODEL_SIGN_KEY:-}")
	[ "$attest" = no ] || attest_key=$(as_key MODEL_ATTEST_KEY "${MODEL_ATTEST_KEY:-}")
fi
case ${MODEL_REGISTRY_USER:+user}-${MODEL_REGISTRY_PASSWORD:+password} in
user-) complain 'MODEL_REGISTRY_USER is set, and MODEL_REGISTRY_PASSWORD is not' ;;
esac
mkdir -p "$reports"
for name in reference digest verdict model.env build.json scan.json scan.sarif scan.md inspect.txt summary.md; do
	rm -f "$reports/$name"
done

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[ -z "${MODEL_REGISTRY_USER:-}" ] || log_in

# Built here and not sent: the scan below is of the image, byte by byte against its digests. So a source that moves
# meanwhile, or digests out of somebody else's cache, change nothing that is signed.
stage=build
"$modelcar" build "$MODEL_SOURCE" -t "$MODEL_IMAGE" --no-scan --json ${MODEL_BASE:+--base "$MODEL_BASE"} \
	${MODEL_CA_FILE:+--ca-file "$MODEL_CA_FILE"} >"$reports/build.json"

stage=scan
status=0
"$modelcar" scan "$MODEL_IMAGE" --again --fail-on "$fail_on" --sarif "$reports/scan.sarif" \
	--markdown "$reports/scan.md" --json >"$reports/scan.json" || status=$?
if [ -s "$reports/scan.json" ]; then
	field "$reports/scan.json" verdict >"$reports/verdict"
	outputs verdict
fi
if [ "$status" -ne 0 ]; then
	[ "$status" -ne 1 ] || echo "package-model: the scan says no; see $reports/summary.md" >&2
	exit "$status"
fi

stage=signatures
# All of it in the local store, so that the tag appears in the registry with everything that belongs to it.
if [ "$signing" != none ]; then
	signed "$modelcar" sign "$MODEL_IMAGE"
fi
if [ "$attest" = yes ]; then
	attested "$modelcar" attest "$MODEL_IMAGE" --type provenance
	attested "$modelcar" attest "$MODEL_IMAGE" --type mlbom
	attested "$modelcar" scan "$MODEL_IMAGE" --fail-on never --quiet
fi
stage=push
"$modelcar" inspect "$MODEL_IMAGE" >"$reports/inspect.txt"
"$modelcar" push "$MODEL_IMAGE" ${MODEL_CA_FILE:+--ca-file "$MODEL_CA_FILE"}

field "$reports/build.json" digest >"$reports/digest"
printf '%s@%s\n' "$(field "$reports/build.json" name)" "$(cat "$reports/digest")" >"$reports/reference"
outputs reference digest
