#!/bin/sh
# run ID SCRIPT: runs a script (base64), its output between two lines that carry the id.
printf '\n%s begin\n' "$1"
script=$(echo "$2" | base64 -d)
sh -c "$script"
printf '\n%s end %d\n' "$1" $?
