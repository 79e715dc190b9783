#!/usr/bin/env bash
# All that needs a GPU, in at most 8 minutes: tools/gpu_check.sh [--device cpu] [FOLDER].
# Runs the tests marked gpu, the rows of docs/results/speed.md in three precisions, and the quick start. FOLDER
# (work_dirs/gpu_check) gets each step's output and summary.md: the card, what failed and what was left out, all targets
# beside what was measured, and the tables, which go into docs/results/speed.md.
# --device cpu runs one row and two training steps, however long they take, to see that the script itself works.
set -uo pipefail
cd "$(dirname "$0")/.."
device=cuda folder=work_dirs/gpu_check
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=${2:?"--device cpu or --device cuda"} && shift 2 ;;
        -*) echo "usage: $0 [--device cpu] [FOLDER]" >&2 && exit 2 ;;
        *) folder=$1 && shift ;;
    esac
done
python=${PYTHON:-python}
if [ "$device" = cuda ] && ! "$python" -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; then
    echo "torch finds no GPU; $0 --device cpu tries the script itself" >&2
    exit 2
fi

# first what has a target; a step that is cut off by its time leaves the rows behind out
rows="train-171-images-4 slide-150 slide-7 train-171-images-4-within-8-gb train-l14-171-images-4 slide-847
    slide-150-images-8 whole-7 text-847"
exact_rows="train-171-images-4 slide-150 slide-7 cliptrase-224-images-16 cliptrase-336-images-16 slide-847"
repeat=7 steps=() patience=1
if [ "$device" = cpu ]; then
    rows=encode-384 exact_rows=encode-384 repeat=1 patience=20
    steps=(--cfg-options train_cfg.max_iters=2 train_cfg.val_interval=2 val_dataloader.dataset.length=4)
fi
mkdir -p "$folder"
summary=$folder/summary.md
"$python" -c "
import torch
print('#', torch.cuda.get_device_name() if '$device' == 'cuda' else 'CPU, a trial of the script')
print('torch', torch.__version__, 'CUDA', torch.version.cuda)" >"$summary"
end=$((SECONDS + 470 * patience)) status=0

# step NAME MOST_SECONDS COMMAND...: what does not end in time, or has none left, is named as left out
step() {
    local name=$1 most=$(($2 * patience)) left=$((end - SECONDS)) code
    shift 2
    if [ "$left" -lt 20 ]; then
        echo "- left out, no time: $name" >>"$summary"
        return
    fi
    echo "== $name"
    timeout --kill-after=5 $((most < left ? most : left)) "$@" >"$folder/$name.txt" 2>&1
    code=$?
    tail -n 3 "$folder/$name.txt"
    case $code in
        0) echo "- $name: done ($(tail -n 1 "$folder/$name.txt"))" >>"$summary" ;;
        124 | 137) echo "- left out, ended after its time: $name" >>"$summary" && status=1 ;;
        *) echo "- $name: FAILED ($code), see $name.txt" >>"$summary" && status=1 ;;
    esac
}

benchmark() { # PRECISION MOST_SECONDS ROWS
    local precision=$1 most=$2
    shift 2
    step "rows-$precision" "$most" "$python" tools/benchmark.py "$@" --device "$device" --precision "$precision" \
        --repeat "$repeat" --seconds 3 --json "$folder/$precision.json" --markdown "$folder/$precision.md"
}

rm -f "$folder"/{bf16,fp32,tf32}.{json,md} # of a run before
echo >>"$summary"
step tests 90 "$python" -m pytest -q -m gpu -p no:cacheprovider \
    tests/models/test_on_a_gpu.py tests/models/test_golden_cat_seg.py
# shellcheck disable=SC2086  # names of rows
benchmark bf16 190 $rows
# shellcheck disable=SC2086
benchmark fp32 120 $exact_rows
step quick-start 110 "$python" tools/train.py configs/hclip/hclip_tiny_scenes.py --work-dir "$folder/quick_start" \
    ${steps[@]+"${steps[@]}"}
benchmark tf32 60 ${rows%% *}
echo "- left out always: the whole test suite, several GPUs, the published code beside it" >>"$summary"
echo >>"$summary"
"$python" -c "
import sys
from hclip_mmseg.costs.gpu_targets import table_of_folder
print(table_of_folder(sys.argv[1]))" "$folder" >>"$summary" || status=1
for precision in bf16 fp32 tf32; do
    [ ! -f "$folder/$precision.md" ] || { echo && cat "$folder/$precision.md"; } >>"$summary"
done
cat "$summary"
exit $status
