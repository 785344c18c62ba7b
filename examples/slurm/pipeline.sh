#!/bin/bash
# Submit the pipeline of dvc.yaml from the project's folder, as jobs that wait for those they need; prints the last one.
# Options, such as --partition=gpu, go to sbatch. Training runs outside DVC, which is then told of its results.
set -euo pipefail
jobs=$(dirname "$0")
options=("$@")

after() {  # after JOB[:JOB…] SCRIPT ARGUMENT…: submit the script, to start once these jobs have ended well
    sbatch --parsable --kill-on-invalid-dep=yes --dependency="afterok:$1" "${options[@]}" "$jobs/$2" "${@:3}"
}

prepared=$(sbatch --parsable "${options[@]}" "$jobs/dvc.sbatch" repro --single-item code prepare pair)
base=$(after "$prepared" train.sbatch stage1 --domain base)
content=$(after "$base" train.sbatch stage1 --domain content)
style=$(after "$base" train.sbatch stage1 --domain style)
encoded=$(after "$content:$style" dvc.sbatch repro --single-item encode)
discrete=$(after "$encoded" train.sbatch stage2 --variant discrete)
continuous=$(after "$encoded" train.sbatch stage2 --variant continuous)
committed=$(after "$discrete:$continuous" dvc.sbatch commit --force stage1_base stage1 stage2)
after "$committed" dvc.sbatch repro
