"""The 26 figures and 12 tables of Bergsma et al. 2025 (arXiv:2509.25087)."""

from __future__ import annotations

from workbench.reports.papers.entry import Entry

_MANY = "needs about a hundred trained curves over τ and TPP, such as the families tau and tpp give"

BERGSMA = (
    Entry(
        "bergsma-fig-1",
        "A family that does not collapse, one that does, and a fault",
        "Do matched sizes collapse where mismatched ones do not, and does the residual show a "
        "fault before the loss?",
        needs="needs the families full (matched sizes), fixed-lambda (mismatched) and fault; the "
        "curves of Llama-2 are not published as numbers",
    ),
    Entry(
        "bergsma-fig-2",
        "Accuracy against training compute",
        "Does one law of compute describe the accuracy of the Celerity models?",
        "accuracy.figure_2",
    ),
    Entry(
        "bergsma-fig-3",
        "One τ made by batch size, learning rate or weight decay",
        "Is the curve the same whichever of B, η and λ makes a τ?",
        needs="needs one size trained at five τ, each made by B, by η and by λ: no family yet; the "
        "τ themselves are worked out in table 5",
    ),
    Entry(
        "bergsma-fig-4",
        "Effect of tokens per parameter, and collapse across sizes",
        "At one τ, does more training per parameter shift the curve down, and do sizes collapse?",
        needs="needs the families tpp and full",
    ),
    Entry(
        "bergsma-fig-5",
        "Compute against compression",
        "How much smaller does a model get for how much more compute at the same loss?",
        "trade_off.figure_5",
    ),
    Entry(
        "bergsma-fig-6",
        "Celerity at 20 and 80 tokens per parameter, and a raw curve with a fault",
        "Does the family collapse at both, and is the fault visible in the raw loss?",
        needs="needs the families tpp and fault",
    ),
    Entry(
        "bergsma-fig-7",
        "Batch size sweeps at fixed λ and at fixed τ",
        "Does the order of batch sizes hold from early on at fixed τ, and not at fixed λ?",
        needs="needs one size trained at six batch sizes with λ fixed and with τ fixed: no family "
        "yet",
    ),
    Entry(
        "bergsma-fig-8",
        "Predicted and true curves at the largest size",
        "Does a surrogate fitted to the smallest size predict the largest?",
        needs="needs the family tau, its smallest size to fit and its largest to judge",
    ),
    Entry(
        "bergsma-fig-9",
        "Loss given up by stopping a sweep of λ early",
        "Does the predicted best setting lose less than the current best one?",
        needs="needs the family tau as a sweep of λ at its largest size",
    ),
    Entry(
        "bergsma-fig-10",
        "Three schedules, a sweep of η",
        "Does the order of curves in τ turn over between constant rate and decay to zero?",
        needs="needs one size trained at several η under three schedules: no family yet",
    ),
    Entry(
        "bergsma-fig-11",
        "Collapse under each of three schedules",
        "Do sizes collapse under constant rate, decay to a tenth and decay to zero?",
        needs="needs the family schedules",
    ),
    Entry(
        "bergsma-fig-12",
        "Collapse across two setups",
        "Do families of other architecture, tokens and data have the same curve at one τ and TPP?",
        needs="needs one matched group trained on two tasks: no family yet",
    ),
    Entry(
        "bergsma-fig-13",
        "Mixtures of experts",
        "Does the number of experts act as fewer tokens per parameter?",
        needs="needs models with experts, which the trainer does not have",
    ),
    Entry(
        "bergsma-fig-14",
        "Adam's β1 and β2",
        "Is the shape of the curve indifferent to β1 and β2?",
        needs="needs one size trained with seven pairs of β: no family yet",
    ),
    Entry(
        "bergsma-fig-15",
        "Loss against compute of three parameterisations",
        "Is CompleteP steeper than μP?",
        "accuracy.figure_15",
    ),
    Entry(
        "bergsma-fig-16",
        "Accuracy against compute, teachers included",
        "What does accuracy cost once the compute of teachers counts?",
        "accuracy.figure_16",
    ),
    Entry(
        "bergsma-fig-17",
        "Accuracy against tokens",
        "Does one law of tokens describe the accuracy of the Celerity models?",
        "accuracy.figure_17",
    ),
    Entry(
        "bergsma-fig-18",
        "Accuracy against tokens, beside distilled families",
        "How many tokens does accuracy cost without a teacher?",
        "accuracy.figure_18",
    ),
    Entry(
        "bergsma-fig-19",
        "Accuracy against parameters",
        "Does one law of size describe the accuracy of the Celerity models?",
        "accuracy.figure_19",
    ),
    Entry(
        "bergsma-fig-20",
        "Accuracy against parameters, five families",
        "Which family gains most from size?",
        "accuracy.figure_20",
    ),
    Entry(
        "bergsma-fig-21",
        "Collapse of the validation loss",
        "Do held-out losses collapse as training losses do?",
        needs="needs the family full, whose runs record held-out loss",
    ),
    Entry(
        "bergsma-fig-22",
        "Best b and q of each curve",
        "Do b and q of the surrogate follow τ and TPP?",
        needs=_MANY,
    ),
    Entry(
        "bergsma-fig-23",
        "Loss given up by stopping a sweep of batch size early",
        "Does the predicted best batch size lose less than the current best one?",
        needs="needs one size trained at several batch sizes: no family yet",
    ),
    Entry(
        "bergsma-fig-24",
        "Error of predicted final losses, sweeps of λ",
        "Is the predicted final loss nearer to the truth than the current loss?",
        needs="needs the family tau as a sweep of λ",
    ),
    Entry(
        "bergsma-fig-25",
        "Error of predicted final losses, sweeps of batch size",
        "Is the predicted final loss nearer to the truth than the current loss?",
        needs="needs one size trained at several batch sizes: no family yet",
    ),
    Entry(
        "bergsma-fig-26",
        "Predicted curves from 10 to 10 000 tokens per parameter",
        "Does only the optimal τ keep a late drop when training goes on for long?",
        "trade_off.figure_26",
    ),
    Entry(
        "bergsma-table-1",
        "Symbols",
        "What are the quantities of the paper called here?",
        "settings.table_1",
    ),
    Entry(
        "bergsma-table-2",
        "Architecture of Celerity",
        "Do the printed shapes give the printed parameters?",
        "sizes.table_2",
    ),
    Entry(
        "bergsma-table-3",
        "Architecture of the original family",
        "Do the printed shapes give the sizes in the names?",
        "sizes.table_3",
    ),
    Entry(
        "bergsma-table-4",
        "Inventory of the original family",
        "How many curves are there, and of how many tokens?",
        "sizes.table_4",
    ),
    Entry(
        "bergsma-table-5",
        "The tuned proxy",
        "Do the tuned settings give the τ that the figures print?",
        "settings.table_5",
    ),
    Entry(
        "bergsma-table-6",
        "Data mix of Celerity",
        "Do the shares add up?",
        "settings.table_6",
    ),
    Entry(
        "bergsma-table-7",
        "The data mix against SlimPajama",
        "What is the mix worth?",
        "settings.table_7",
    ),
    Entry(
        "bergsma-table-8",
        "Tokens of Celerity",
        "Do the printed tokens fit the labels in tokens per parameter?",
        "sizes.table_8",
    ),
    Entry(
        "bergsma-table-9",
        "Terms of the training compute",
        "Does the formula give the printed compute?",
        "sizes.table_9",
    ),
    Entry(
        "bergsma-table-10",
        "Evaluations",
        "Do the printed means agree with the printed laws?",
        "accuracy.table_10",
    ),
    Entry(
        "bergsma-table-11",
        "Error of the surrogate by size",
        "Does a surrogate fitted to the smallest size hold at larger ones?",
        needs=_MANY,
    ),
    Entry(
        "bergsma-table-12",
        "Ablation of the surrogate",
        "Are both laws, of b in τ and of q in TPP, needed?",
        needs=_MANY,
    ),
)
