"""The figures of Qiu et al. 2025 (arXiv:2507.02119); what they share is one box."""

from __future__ import annotations

from workbench.reports.papers.entry import Entry

QIU = (
    Entry(
        "qiu-fig-1ab",
        "Scaling law and collapse, CIFAR-5M, linear decay",
        "Do eight sizes collapse onto one curve once the irreducible loss is subtracted?",
        "ladders.figure_1ab",
        data=("qiu_c5m",),
    ),
    Entry(
        "qiu-fig-1c",
        "Spread of the collapse against the noise of seeds",
        "Do sizes differ by less than seeds do, and from where in training on?",
        "ladders.figure_1c",
        data=("qiu_c5m",),
    ),
    Entry(
        "qiu-fig-1d",
        "Collapse under several schedules",
        "Do sizes collapse under every schedule that decays?",
        needs="needs the family schedules; of the paper's own ladders only the linear one is "
        "published",
    ),
    Entry(
        "qiu-fig-1e-6",
        "Predicting other schedules, CIFAR-5M",
        "Does gradient noise explain what a schedule changes in the loss?",
        "schedules.figure_6",
        data=("qiu_c5m_schedules",),
    ),
    Entry(
        "qiu-fig-1f-8",
        "How the spread closes",
        "Does the spread fall as √(η(1 − τ̂))?",
        "ladders.figure_8",
        data=("qiu_c5m", "qiu_mlp"),
    ),
    Entry(
        "qiu-fig-2",
        "Collapse against the offset",
        "Is the collapse best at the irreducible loss of the power law?",
        "offsets.figure_2",
        data=("qiu_c5m",),
    ),
    Entry(
        "qiu-fig-3",
        "A constant learning rate",
        "Is there collapse without decay, and is it supercollapse?",
        "offsets.figure_3",
        data=("qiu_mlp_const", "qiu_mlp"),
    ),
    Entry(
        "qiu-fig-4-top",
        "Width rules against one learning rate for all widths",
        "Does collapse need μP?",
        needs="needs the family mup-ablation; the paper's ladder without μP is not published",
    ),
    Entry(
        "qiu-fig-4-bottom",
        "Chess with the right and a wrong data exponent",
        "Does collapse need the compute-optimal horizon?",
        needs="needs a ladder at a wrong data exponent, which is not published; figure 5b shows "
        "the effect on exact laws",
    ),
    Entry(
        "qiu-fig-5a",
        "Sum of power laws, CIFAR-5M",
        "Does a sum of power laws describe the curves at a constant rate?",
        needs="needs the curves c5m_const of the authors' repository; figure 11 does it for the "
        "regression task",
    ),
    Entry(
        "qiu-fig-5b",
        "Exact sums of power laws",
        "Does an exact power law collapse at the compute-optimal horizon, and only there?",
        "exact_laws.figure_5b",
    ),
    Entry(
        "qiu-fig-7-14",
        "Gradient noise over reducible loss",
        "Is the ratio of gradient noise to reducible loss the same for all sizes?",
        "schedules.figure_7",
        data=("qiu_c5m_schedules",),
    ),
    Entry(
        "qiu-fig-9",
        "Scaling in depth, chess",
        "Do sizes that differ in depth collapse?",
        needs="needs the family depth; the paper's ladder was never published",
    ),
    Entry(
        "qiu-fig-10",
        "Compute-optimal horizon",
        "Which horizon is best for each size?",
        "horizons.figure_10",
        data=("qiu_mlp_const",),
    ),
    Entry(
        "qiu-fig-11",
        "Sum of power laws, regression task",
        "Does a sum of power laws describe the curves at a constant rate?",
        "horizons.figure_11",
        data=("qiu_mlp_const",),
        full={"draws": 200},
    ),
    Entry(
        "qiu-fig-12",
        "Predicting other schedules, regression task",
        "Does gradient noise explain what a schedule changes in the loss?",
        "schedules.figure_12",
        data=("qiu_mlp_schedules",),
    ),
    Entry(
        "qiu-fig-13",
        "The coefficient that meets each end point",
        "Does one coefficient serve every schedule?",
        "schedules.figure_13",
        data=("qiu_c5m_schedules",),
    ),
)
