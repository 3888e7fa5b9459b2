"""Trains and measures for the executable companion to two papers on why knowledge distillation
works. Here are its modules in reading order: each rests on those above it and on nothing below.

What a run is
    spec                  every value that a run depends on; its hash is the run's name
    design                a run's relatives: the specs that it is compared with
    chance                every stream of random numbers, and what it is for
    folders               where the environment says that things lie

What it sees
    data.canonical        one order for the same examples, whatever files they came in
    data.own              your own pictures and texts
    data.text             texts as word numbers
    data.sources          where each data set comes from: a row for each
    data                  a data set as plain arrays, drawn by a seed
    data.augment          augmentations, functions of images and of numbers in [0, 1)
    data.views            the view of a split in an epoch
    data.photographs      five photographs that may travel

How it is made, and kept
    models                networks by their names
    losses                what a student learns from
    replay                a step that a CUDA device plays from a recording
    provenance            when, and by what, a number was made
    store                 runs, logits and rows, each under the hash of what it is
    budget                how much room logits may take, and which go first
    train                 from a spec to weights, and to logits
    workers               local processes, side by side
    executors             where else runs can be trained: Slurm, dask
    sweep                 many runs, teachers first
    results               rows: measurements of runs, published or made now

What is measured
    metrics               functions of arrays: agreement, information, calibration
    metrics.saliency      where a network looks
    metrics.eigen         along which directions of the data it learns
    metrics.tilt          how its log-odds lie to its teacher's
    measure               what all measurements share
    measure.outputs       what students and teachers say
    measure.attention     where they look
    measure.confidence    log-odds of a student against its teacher's
    measure.trajectories  how fast they learn each eigendirection
    measure.gain          what a teacher is worth, example by example
    stats                 over seeds: intervals, effects, corrections

What the chapters are made of; nothing above imports it
    book                  an overview
    book.parameters       what a reader may change
    book.trials           the runs of Guo et al. (2024)
    book.settings         the runs of Nagarajan et al. (2023)
    book.places           three of their settings side by side
    book.contrasts        the statistics of claims, a file for each chapter
    book.chapter          numbers in prose, tables, and where a page came from
    book.claims           the one rule that judges, and what a page leaves
    book.figure_data      a figure's numbers as a table
    book.figures          the book's look
    book.plots            marks that several figures share
    book.tables           tables of cells and intervals
    book.svg              elements and axes of pictures that a script moves
    book.live             pictures that a reader moves: what they share
    book.live_ruler       change the ruler
    book.live_judge       judge it yourself
    book.live_tilt        tilt from choosing
    book.live_stop        stop the teacher early

`_torchvision` is the one door to torchvision. Nothing is imported here: write `from kdcore import
data`, `from kdcore.spec import Spec`.
"""
