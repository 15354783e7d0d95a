r"""How well does a recurrent network predict what comes next in a chorale, and how far back does it listen?

    python -m experiments.music                                                Bach's chorales, as music21 has them
    python -m experiments.music --variant=best --config.file=FILE.json --workdir=runs/best
    python -m experiments.music --variant=taught --config.file=FILE.json --workdir=runs/taught \
        --config.teacher=runs/best/checkpoints/gru-seed0/best
    python -m experiments.music.compose --primer=FILE.mid --output=piece.mid   32 bars by a trained network

In the lectures recurrent networks compose music. Here a frame is a quarter note of 88 keys, and each frame is predicted
from all frames before it. Sigmoids predict each key by itself. A joint output predicts the notes of a frame one after
the other; its loss is another measure and cannot be compared with that of sigmoids. The chorales are those of music21
(``pip install -e ".[music]"``) or those of a JSON file, an object of train, valid and test, which are lists of
chorales; a chorale is a list of frames, and a frame is a list of MIDI numbers. Of music21 only chorales in bars of four
quarters are kept, so that a bar is known to have four frames; of a file this is assumed.

Run time: 5 min on two CPU cores, 29 min where many other programs used them, and 45 s more where the chorales have not
been parsed before; best 4 min, taught 8 min after that, the quick variant 20 to 40 s.

What to expect. Losses are in nats a frame, summed over the 88 keys, as means over all frames from the second one of
each chorale on.

* The default takes 309 chorales of music21, three seeds, 128 units and 500 training steps, and transposes the training
  chorales by -5 to 6 semitones. Chorales of the same tune, of which there are 167, are in the same part (split.csv), so
  that none of the 65 test chorales has a tune from training. With sigmoids the GRU loses 8.71 (8.70 to 8.72), the LSTM
  8.74 (8.73 to 8.75) and the Elman net 8.89 (8.88 to 8.91). If notes are only counted, each key by whether it has just
  sounded, the loss is 10.86, and 11.39 by the frequency of each key. The GRU with a joint output loses 5.51 (5.49 to
  5.53).
* Before training, a tenth of the gradient of one frame's loss is left 6 beats back, which is 1.5 bars, in the GRU, 13
  to 14 beats back in the LSTM and 18 in the Elman net. After training it is left 5 to 6 beats back in the LSTM, and in
  the others more than a tenth is left beyond 24 beats, which is 6 bars. A GRU that starts from its initial state 8
  beats before a frame loses 0.15 to 0.16 nats more than one that starts 24 beats before it; with 16 beats it loses 0.00
  to 0.04 more. So what lies more than four bars back is of little use.
* In pieces of 32 bars, drawn after silence and after the opening of a chorale with the first seed, 74 % of the frames
  have exactly four notes with the joint output, and 16 to 23 % with sigmoids. The pieces of the Elman net end in
  clusters.
* best takes the split for which figures are published (229, 76 and 77 chorales), with one seed. A GRU of 352 units
  loses 8.21, and 7.97 in the validation part. If it reads each chorale in the twelve keys of its training and its
  logits are averaged, it loses 8.07 (7.85 in the validation part); this is one set of weights, but more than one
  reading. Published are 8.91 for an RNN, 8.45 for an LSTM, 8.43 for a GRU, 8.20 for a tuned GRU and 8.10 for a TCN (Bai
  et al., 2018; Neumann, 2020). 42 of these 77 test chorales have a tune that is also in training. Intervals of two
  octaves, learning rate, dropout, weight decay and averaging were chosen in the validation part, in ten trials of one
  seed.
* taught takes the same split. Three GRUs of the same size learn from that network, which has read the training chorales
  in all keys, and from what really sounds, in equal parts. By one reading they lose 8.08 (8.08 to 8.09), and 7.87 (7.87
  to 7.88) in the validation part; averaged over the keys they lose 7.99 (7.98 to 7.99). All three have the same
  teacher, which makes them alike. Who is taught needs less dropout: with the dropout and the 2,400 steps of best one
  network loses 8.26. The dropout was chosen in the validation part, in four trials of one seed.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    # A JSON file of chorales, an object of train, valid and test; empty: the chorales of music21.
    config.file = ""
    config.chorales = 0  # of music21, the most chorales in each part; 0: all
    # Names of rnnjax.CELLS, followed by :joint for a joint output; frequency and held count notes.
    config.networks = "frequency,held,elman,gru,lstm,gru:joint"
    config.hidden_size = 128  # units of each layer
    config.layers = 1  # layers of the cell, stacked
    # Semitones above and below a key within which the notes of the frame before contribute to its logit; 0: none do.
    config.intervals = 24
    config.down = 5  # the most semitones by which a chorale is transposed down in training; the number is drawn
    config.up = 6  # the most semitones by which it is transposed up
    config.note_dropout = 0.0  # probability that an input note is dropped in training
    config.output_dropout = 0.25  # probability that an output of a layer is dropped
    config.recurrent_dropout = 0.0  # probability that what enters a recurrent product is dropped, for a whole row
    # Folder of a trained network with sigmoids, such as runs/best/checkpoints/gru-seed0/best, that teaches others.
    config.teacher = ""
    config.teacher_share = 0.0  # weight of its probabilities in what is taught; the rest is what really sounds
    config.rows = 16  # rows in a training step
    config.row_frames = 128  # frames of a row, which is filled with one chorale after the other
    config.train_steps = 500  # training steps; the evaluated weights with the least validation loss are tested
    config.learning_rate = 6e-3  # of AdamW at the start; it falls to 0 as a cosine
    config.weight_decay = 0.1  # of matrices
    config.clip_norm = 1.0  # largest global norm of a gradient
    config.averaged_over = 60  # training steps over which the evaluated mean of the weights is taken, about
    config.evaluate_every = 100  # training steps between evaluations
    config.steps_a_call = 20  # training steps in one dispatch; all other numbers of steps are multiples of it
    config.checkpoint_every = 100  # training steps between checkpoints; the best weights are kept in any case
    config.lags = 24  # beats back from a frame over which the gradient of its loss is measured
    # Numbers of frames after which a network that starts from its initial state predicts the next frame.
    config.contexts = "1,2,4,8,16,24"
    config.bars = 32  # bars of a composed piece
    config.seeds = 3  # independent initializations and orders of the training data
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def best(config: ConfigDict) -> None:
    """4 min. A larger GRU, trained for longer with more dropout and weight decay and a longer average of weights."""
    config.networks, config.hidden_size, config.train_steps, config.seeds = "gru", 352, 2400, 1
    config.learning_rate, config.weight_decay, config.averaged_over = 8e-3, 0.35, 400
    config.output_dropout, config.note_dropout, config.checkpoint_every = 0.55, 0.12, 200


def taught(config: ConfigDict) -> None:
    """8 min. As best, taught by a network of best, with less dropout and for longer; give --config.teacher=FOLDER."""
    best(config)
    config.teacher_share, config.seeds, config.train_steps = 0.5, 3, 3000
    config.output_dropout, config.note_dropout = 0.35, 0.06


def quick(config: ConfigDict) -> None:
    """20 s. The same steps on tiny networks and few chorales."""
    config.chorales, config.hidden_size, config.intervals, config.seeds = 8, 12, 3, 2
    config.rows, config.row_frames, config.train_steps, config.steps_a_call = 8, 40, 60, 20
    config.evaluate_every, config.checkpoint_every, config.averaged_over = 20, 40, 10
    config.lags, config.contexts, config.bars, config.learning_rate = 8, "1,8", 4, 2e-2
    config.networks = "held,elman,gru:joint"


VARIANTS = (best, taught, quick)
