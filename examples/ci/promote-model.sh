#!/bin/sh
# promote-model.sh: from one registry to another what a policy agrees to, by its digest and with all its signatures.
#
#   MODEL_REFERENCE         what to promote: registry/repository@sha256:…, as package-model.sh left it
#   MODEL_TARGET            what it is called there: registry/repository:tag
#   MODEL_POLICY            a policy file, or a folder of them
#   MODEL_TRUST_CONFIG      a file that describes a Sigstore instance of your own, if identities of the policy are of it
#   MODEL_CA_FILE           a file with the authority that signed the registries' certificates
#   MODEL_SOURCE_USER, MODEL_SOURCE_PASSWORD   who logs in to the first registry,
#   MODEL_TARGET_USER, MODEL_TARGET_PASSWORD   and to the second; without them what is in the Docker configuration
#   MODEL_REPORTS           the folder for what is reported; by default model-reports
#   MODELCAR, PYTHON        the programs; by default modelcar and python3
#
# It leaves in MODEL_REPORTS: promoted, the reference at the target by its digest.
#
# Exit status: 0 done; 1 the policy says no, and nothing was copied; 2 wrong usage; 3 the world failed.
set -eu

complain() {
	printf 'promote-model: %s\n' "$1" >&2
	exit 2
}

# log_in: a Docker configuration of our own, which goes when the script ends.
log_in() {
	DOCKER_CONFIG=$(mktemp -d)
	export DOCKER_CONFIG
	trap 'rm -rf "$DOCKER_CONFIG"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	"$python" - <<-'END'
		import base64, json, os
		auths = {}
		for side, ref in (("SOURCE", "MODEL_REFERENCE"), ("TARGET", "MODEL_TARGET")):
		    name, password = (os.environ.get(f"MODEL_{side}_{what}", "") for what in ("USER", "PASSWORD"))
		    if name:
		        login = base64.b64encode(f"{name}:{password}".encode()).decode()
		        auths[os.environ[ref].partition("/")[0]] = {"auth": login}
		path = os.path.join(os.environ["DOCKER_CONFIG"], "config.json")
		with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
		    json.dump({"auths": auths}, file)
	END
}

modelcar=${MODELCAR:-modelcar}
python=${PYTHON:-python3}
reports=${MODEL_REPORTS:-model-reports}

case ${MODEL_REFERENCE:-} in
-*) complain 'MODEL_REFERENCE begins with a dash' ;;
*@sha256:*) ;;
*) complain 'MODEL_REFERENCE does not say what to promote, by its digest: a tag may be another image by now' ;;
esac
case ${MODEL_TARGET:-} in
'') complain 'MODEL_TARGET does not say what it is called there' ;;
-*) complain 'MODEL_TARGET begins with a dash' ;;
esac
[ -e "${MODEL_POLICY:-}" ] || complain 'MODEL_POLICY is no file or folder with policies'
[ -z "${MODEL_SOURCE_USER:-}${MODEL_TARGET_USER:-}" ] || log_in
mkdir -p "$reports"
rm -f "$reports/promoted" "$reports/copy.json"

"$modelcar" verify "$MODEL_REFERENCE" --remote --policy "$MODEL_POLICY" \
	${MODEL_TRUST_CONFIG:+--trust-config "$MODEL_TRUST_CONFIG"} ${MODEL_CA_FILE:+--ca-file "$MODEL_CA_FILE"}
"$modelcar" copy "$MODEL_REFERENCE" "$MODEL_TARGET" --json \
	${MODEL_CA_FILE:+--ca-file "$MODEL_CA_FILE"} >"$reports/copy.json"
digest=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["digest"])' "$reports/copy.json")
[ "$digest" = "${MODEL_REFERENCE##*@}" ] || complain "$MODEL_TARGET is $digest and not what was verified"
printf '%s@%s\n' "$MODEL_TARGET" "$digest" >"$reports/promoted"
[ -z "${GITHUB_OUTPUT:-}" ] || printf 'reference=%s@%s\n' "$MODEL_TARGET" "$digest" >>"$GITHUB_OUTPUT"
