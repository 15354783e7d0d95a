r"""How well are the next hours of sun and wind forecast, and the next day of a stock index?

python -m experiments.forecasting                                     sun and wind, hour by hour
python -m experiments.forecasting --variant=VARIANT --workdir=runs/VARIANT
python -m experiments.forecasting.predict --csv=FILE --target=COLUMN   your own series
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or one of its variants."""
    config = ConfigDict()
    config.data = "weather"  # or stocks
    config.targets = "solar,wind"  # of the weather
    config.site = "greensboro"  # of the weather; or sand_point, or a file of the format TMY3
    # Baselines: persistence, seasonal persistence, smart persistence, mean, random walk, ar, arx. Networks: tdnn; narx,
    # fed with the truth, with its own predictions (narx:own) or with past errors (narx:errors); bidirectional, which
    # sees the future; names of rnnjax.CELLS.
    config.models = (
        "persistence,seasonal persistence,smart persistence,mean,ar,arx,"
        "tdnn,narx,narx:own,narx:errors,elman,lstm,gru,bidirectional"
    )
    config.reference = "smart persistence"  # skill is told over this one of them
    config.horizons = "1,6,24"  # steps ahead, 1 among them
    config.output_taps = "24"  # K, past values that a NARX network sees; several are swept
    config.input_taps = "24"  # L, steps of the inputs that it or a TDNN sees; several are swept
    config.hidden_size = 32  # units of each network
    config.warm_up = 24  # first steps of a training window, which do not count
    config.window = 48  # steps of a training window that count
    config.batch_size = 32  # windows in a training step
    config.train_steps = 400  # of which the best params by the validation part are kept
    config.learning_rate = 3e-3  # of AdamW at the start; it falls to nothing as a cosine
    config.weight_decay = 0.3  # of matrices
    config.clip_norm = 1.0  # global gradient norm
    config.steps_a_call = 25  # training steps in a dispatch, after which they are validated
    config.folds = 1  # of stocks: stretches that are tested, each after training on all before it
    config.block_days = 3  # mean length of the blocks of days that the bootstrap draws
    config.seeds = 3  # independent initializations and orders of windows
    config.threads = 0  # programs compiled and run at the same time; 0: one a core
    return varied(config, variant, VARIANTS)


def stocks(config: ConfigDict) -> None:
    """5 min. Daily returns of the S&P 500 in six folds, each after training on all days before it, three seeds."""
    config.data, config.horizons, config.folds, config.block_days = "stocks", "1", 6, 20
    config.models = "persistence,mean,random walk,ar,arx,tdnn,narx,elman,lstm,gru"
    config.reference, config.output_taps, config.input_taps = "random walk", "10", "10"
    config.hidden_size, config.train_steps = 8, 300


def taps(config: ConfigDict) -> None:
    """5 min. How many past outputs K and inputs L a NARX network should see: sixteen pairs, three seeds."""
    config.models, config.output_taps, config.input_taps = "smart persistence,narx", "1,3,12,24", "1,3,12,24"


def quick(config: ConfigDict) -> None:
    """20 to 40 s. The same steps on tiny networks."""
    config.models, config.horizons, config.seeds = "persistence,mean,smart persistence,arx,narx,gru", "1,6", 2
    config.hidden_size, config.output_taps, config.input_taps, config.warm_up, config.window = 4, "2", "2", 4, 12
    config.train_steps, config.steps_a_call, config.batch_size = 40, 20, 8


VARIANTS = (stocks, taps, quick)
