#!/bin/sh
# Makes clip.flv, the built-in camera of `sluicegate demo`: 8 s of ffmpeg's own test picture and of a quiet tone.
# Nothing in it was filmed or recorded. Made with ffmpeg 5.1.9 (Debian 12); another release may give other bytes.
#
# The clip is played in a loop, so its end must meet its beginning:
# - both tracks last 8 s to the tick: 200 pictures of 1/25 s, and 375 AAC frames of 1024/48000 s;
# - 468.75 Hz is ten waves in each AAC frame, and the tone swells once a second, so the tone does not jump;
# - the AAC frames are the second 8 s of a longer tone: the encoder's start-up silence is not among them;
# - no tag says that the sequence ends.
# A key frame comes every second, without B pictures, as from a camera; the parameter sets never change.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

ffmpeg -v error -f lavfi -i 'aevalsrc=0.02*(1-cos(2*PI*t))*sin(2*PI*468.75*t):s=48000:d=20' \
    -c:a aac -b:a 32k -fflags bitexact -flags:a bitexact -f adts "$work/tone.aac"
ffmpeg -v error -f lavfi -i 'testsrc=size=640x360:rate=25:duration=8:decimals=1' \
    -c:v libx264 -profile:v main -preset veryslow -crf 28 -bf 0 -g 25 -keyint_min 25 -sc_threshold 0 \
    -pix_fmt yuv420p -threads 1 -fflags bitexact -flags:v bitexact "$work/picture.mp4"
# FLV wants the AAC configuration in front, where raw AAC has none: MP4 in between collects it.
ffmpeg -v error -ss 8 -t 8 -i "$work/tone.aac" -c copy -bsf:a aac_adtstoasc -fflags bitexact "$work/tone.m4a"
ffmpeg -v error -y -i "$work/picture.mp4" -i "$work/tone.m4a" -map 0:v -map 1:a -c copy \
    -fflags bitexact -flvflags no_duration_filesize+no_sequence_end -f flv clip.flv
