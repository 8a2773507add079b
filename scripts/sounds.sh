#!/usr/bin/env bash
# The sounds of results/sounds: scripts/sounds.sh OUT prepares them from data/samples, which is (or links to) the folder `samples` of
# npm's package supersonic-scsynth-samples 0.84.2: Sonic Pi's samples, CC0 (its PROVENANCE.md has the origin of each).
#
# Which: by their names, decided before any network was trained on one. Of each family below the files in alphabetic order, each at its first
# sound and, in families of long ones, 0.5 s later too, until the family has its number; a file is taken once. What `cwrnn prepare` refuses
# (silence, or the file ends) is passed over.
set -euo pipefail
cd "$(dirname "$0")/.."
read -r -a cwrnn <<<"${CWRNN:-.venv/bin/cwrnn}"
out=${1:-data/sounds}
origin="npm supersonic-scsynth-samples 0.84.2, CC0"
export LC_ALL=C
shopt -s nullglob

prepare() { # FILE START: its last line says what was made, or why nothing was
    "${cwrnn[@]}" prepare audio --src "$1" --start "$2" --origin "$origin" --out "$out/$(basename "$1" .flac)-$2.h5" -q 2>&1 | tail -1
}

declare -A taken
while read -r family number starts patterns; do
    read -r -a names <<<"$patterns"
    have=0
    for file in $(for name in "${names[@]}"; do printf '%s\n' data/samples/$name.flac; done | sort -u); do
        [[ $have -lt $number && -z ${taken[$file]:-} ]] || continue
        start=0.000
        said=$(prepare "$file" $start) || true
        if [[ $said =~ from\ --start\ ([0-9.]+)\ on\ there\ is\ sound ]]; then
            start=${BASH_REMATCH[1]}
            said=$(prepare "$file" "$start") || true
        fi
        if [[ $said == Error* ]]; then
            echo "passed over: $family: $said" >&2
            continue
        fi
        taken[$file]=1
        have=$((have + 1))
        if [[ $starts -eq 2 && $have -lt $number ]]; then
            said=$(prepare "$file" "$(awk -v s="$start" 'BEGIN { printf "%.3f", s + 0.5 }')") || true
            [[ $said == Error* ]] && echo "passed over: $family: $said" >&2 || have=$((have + 1))
        fi
    done
    echo "$family: $have" >&2
done <<'FAMILIES'
guitar 8 2 guit_*
piano 2 2 *piano*
voice 7 2 *choir* *vox* *voc*
ambience 4 2 ambi_*
bass 3 2 bass_*
loops 4 2 loop_*
drums 4 1 drum_*
bass-drums 2 1 bd_*
snares 2 1 sn_*
hats 2 1 hat_*
tabla 2 1 tabla_*
percussion 2 1 perc_*
electric 2 1 elec_*
vinyl 2 1 vinyl_*
glitches 2 1 glitch_*
FAMILIES
