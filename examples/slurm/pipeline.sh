#!/bin/bash
# Submit the pipeline of dvc.yaml from the project's folder, as jobs that wait for those they need; prints the last one.
# Options, such as --partition=gpu, go to sbatch. Trainings run on several nodes outside DVC, which then records their
# results; submitted again after a failure, what DVC knows to be up to date is skipped.
set -euo pipefail
jobs=$(dirname "$0")
options=("$@")

after() {  # after JOB[:JOB…] ARGUMENT…: submit to start once these jobs have ended well
    sbatch --parsable --kill-on-invalid-dep=yes --dependency="afterok:$1" "${options[@]}" "${@:2}"
}

train() {  # train JOB[:JOB…] STAGE ARGUMENT…
    after "$1" --export="ALL,STAGE=$2" "$jobs/train.sbatch" "${@:3}"
}

prepared=$(sbatch --parsable "${options[@]}" "$jobs/dvc.sbatch" repro --single-item code prepare pair)
base=$(train "$prepared" stage1_base stage1 --domain base)
base=$(after "$base" "$jobs/dvc.sbatch" commit --force stage1_base)
content=$(train "$base" stage1@content stage1 --domain content)
style=$(train "$base" stage1@style stage1 --domain style)
domains=$(after "$content:$style" "$jobs/dvc.sbatch" commit --force stage1)
encoded=$(after "$domains" "$jobs/dvc.sbatch" repro --single-item encode)
discrete=$(train "$encoded" stage2@discrete stage2 --variant discrete)
continuous=$(train "$encoded" stage2@continuous stage2 --variant continuous)
variants=$(after "$discrete:$continuous" "$jobs/dvc.sbatch" commit --force stage2)
after "$variants" "$jobs/dvc.sbatch" repro
