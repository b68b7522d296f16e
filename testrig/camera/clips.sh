#!/bin/sh
# Makes the sample camera's clips: testrig/camera/clips/*.h264 (Annex B).
#
# Frame j of a clip shows the counter n = (j + PHASE) mod 300 in a row of ten
# blocks at the bottom: nine bits, the highest first, then a bit that makes the
# number of white blocks odd. All black and all white are therefore no counters.
# The phase puts the key frames of each version on other counters.
#
# A clip is a row of takes of the same 300 frames, which differ in where their key
# frames are. The camera answers a wish for one by going over to another take.
#
# Needs ffmpeg with libx264 and the DejaVu fonts.
set -eu
cd "$(dirname "$0")"
font=${FONT:-/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf}

# bit K: the expression of counter bit K, 0 being the lowest.
bit() { echo "mod(floor(mod(n+$phase\\,300)/$((1 << $1)))\\,2)"; }

blocks() {
	sum=0
	for k in 8 7 6 5 4 3 2 1 0; do
		echo "drawbox=x=$((32 * (8 - k))):y=144:w=32:h=36:color=white:t=fill:enable='$(bit $k)',"
		sum="$sum+$(bit $k)"
	done
	echo "drawbox=x=288:y=144:w=32:h=36:color=white:t=fill:enable='1-mod($sum\\,2)'"
}

# clip NAME TEXT COLOUR PHASE GOP TAKE...
# Each TAKE is the first key frame of one after frame 0.
clip() {
	name=$1 text=$2 colour=$3 phase=$4 gop=$5
	shift 5
	filter="drawtext=fontfile=$font:text='$text':fontsize=72:fontcolor=white:x=24:y=20,
		drawtext=fontfile=$font:text='%{eif\\:mod(n+$phase\\,300)\\:d\\:3}':fontsize=28:fontcolor=white:x=236:y=24,
		drawbox=x=0:y=104:w=320:h=24:color=black:t=fill,
		drawtext=fontfile=$font:text='●':fontsize=24:fontcolor=white:x='mod((n+$phase)*16\\,320)-10':y=104,
		drawbox=x=0:y=144:w=320:h=36:color=black:t=fill,$(blocks)"
	for take; do
		ffmpeg -hide_banner -loglevel error -y -f lavfi -i "color=c=$colour:s=320x180:r=30" \
			-vf "$(echo "$filter" | tr -d '\n\t')" -frames:v 300 -pix_fmt yuv420p \
			-c:v libx264 -profile:v baseline -level 3.1 -preset slow -crf 30 -threads 1 \
			-force_key_frames "expr:eq(mod(n,$gop),mod($take,$gop))" \
			-x264-params "keyint=infinite:scenecut=0:bframes=0:ref=1:repeat-headers=1:slices=1" \
			-bsf:v filter_units=remove_types=6 -f h264 "clips/$name.$take.part"
	done
	: >"clips/$name.h264"
	for take; do
		cat "clips/$name.$take.part" >>"clips/$name.h264"
		rm "clips/$name.$take.part"
	done
}

mkdir -p clips
clip v1 1.0 0x1e50a0 0 10 10 4 7
clip v2 2.0 0x1e7832 3 10 10 4 7
clip v3 3.0 0xa02828 6 10 10 4 7
clip v4 4.0 0x6e2d8c 9 10 10 4 7
clip v5 5.0 0xa06414 2 10 10 4 7
clip v6 6.0 0x505050 5 10 10 4 7
clip long-gop 1.0 0x147878 0 60 60
