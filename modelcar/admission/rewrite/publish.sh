# What the holder does (docs/formats/holder.md), for images that have a shell instead: sh -c THIS modelcar TO LINK
# No $( and no $$ in here: kubelets would expand them.
set -eu
read -r pid rest < /proc/self/stat
for file in /models/*; do
    [ -e "$file" ] || { echo "modelcar: this image has no model in /models" >&2; exit 1; }
    break
done
# One rename, so that readers see the old link or the new one; an mv without -T would follow the old link.
place() {
    rm -f "$2"
    ln -s "/proc/$pid/root/models" "$2"
    mv -T "$2" "$1" 2>/dev/null || { rm -f "$1"; mv "$2" "$1"; }
}
farm() (
    for file in "/models/$1"* "/models/$1".[!.]* "/models/$1"..?*; do
        name=$1${file##*/}
        if [ -d "$file" ] && [ ! -L "$file" ]; then
            [ -d "$to/$name" ] || mkdir "$to/$name"
            farm "$name/" "../$2"
        elif [ -e "$file" ] && [ ! -L "$to/$name" ]; then
            ln -s "$2.modelcar/$name" "$to/$name"
        fi
    done
)
to=$1
if [ "$2" = farm ]; then
    farm "" ""
    place "$to/.modelcar" "$to/.modelcar.new"
else
    place "$to" "${to%/*}/.${to##*/}.new"
fi
trap 'exit 0' TERM INT
while :; do sleep 3600 & wait $!; done
