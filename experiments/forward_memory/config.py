"""How soon does a recurrent network forget its inputs on the way forward, and what becomes of one that does not?

    python -m experiments.forward_memory                                                 all defaults
    python -m experiments.forward_memory --config.amplitude=0.1 --workdir=runs/small_inputs
    python -m experiments.forward_memory --config.cells=elman,indrnn,lru --config.radii=0.5,0.99 --workdir=runs/mine

The lecture: "Stuff gets forgotten in the forward pass too, otherwise outputs would saturate or blow up. Typically
forgotten in a dozen or so timesteps." This is measured in networks at initialization that hear uniform noise. How much
of an input can a linear readout recover from the state k steps later (R², whose sum over lags is the memory capacity;
Jaeger, 2001)? How does ||dh_T/dx_t|| fall with lag, beside ||dL/ds_t||, which is what the same Jacobians leave of a
gradient? And how large do outputs become? Linear networks have both curves in closed form: R² by the states'
covariance, and radius^k.

Run time: 25 s on two CPU cores; the quick variant 10 s.

What to expect, from three seeds each:

* A dozen it is. All 14 nonlinear networks of 64 units that do not blow up forget half of an input's variance within 12
  steps: tanh after 10 to 12 (radii 0.9 to 1.5), sigmoid after 6 or 7, ReLU after 5 or 6, the LSTM after 1 to 4 and the
  GRU after 0 to 3. The linear network of 64 units with radius 0.9 recalls 64 steps, as theory says; its capacity is
  63.9. With 256 units tanh forgets after 13 to 17 steps.
* Derivatives last longer where gates are open, but no input can be recovered from what is then kept. With forget biases
  of 0, 1 and 3 a step multiplies the LSTM's dh_T/dx_t by 0.69, 0.89 and 1.00, and its capacity is 5.3, 6.1 and 1.5.
* Otherwise outputs do saturate or blow up. dh_T/dx_t does not fade within 100 steps in four networks. The linear ones
  (radius 1, where outputs grow as the root of time and nothing is recalled, and 1.5) and ReLU with 1.5 blow up. In the
  LSTM with forget bias 3 the most saturated tanh has 39 % of its units saturated; in networks that forget it is 2 % or
  less. But with inputs of amplitude 0.1 tanh with radius 1.5 does neither: dh_T/dx_t grows by 1.06 a step, and not even
  half of the present input is recalled.
* The largest eigenvalue does not decide alone. With all eigenvalues of modulus 1 a step multiplies dh_T/dx_t by 1.00 in
  the linear network, by 0.74 with tanh, by 0.71 with ReLU (half of its units are off: the root of 1/2) and by 0.22 with
  sigmoid (whose slope is at most 1/4). How far tanh is driven matters as much. At radius 1 inputs of amplitude 0.1 are
  half forgotten after 54 steps, of amplitude 1 after 11, and of amplitude 3, which saturate 16 % of the units, after 6.
* The factors of dL/ds_t are those of dh_T/dx_t, to 0.008 (geometric means over seeds): forgetting forward and vanishing
  backward are one thing.
"""

from ml_collections import ConfigDict

from experiments.common.settings import varied


def get_config(variant: str = "default") -> ConfigDict:
    """The default study, or ``quick``: the same steps on tiny networks, in seconds."""
    config = ConfigDict()
    config.cells = "elman,gru,lstm"  # names of rnnjax.CELLS
    config.activations = "identity,tanh,relu,sigmoid"  # of Elman networks; names of rnnjax.ACTIVATIONS
    config.radii = "0.9,1,1.5"  # of Elman networks: the recurrent kernel is an orthogonal matrix times this
    config.forget_biases = "0,1,3"  # biases of the forget gate, and of a GRU's update gate
    config.seeds = 3  # independent initializations and inputs
    config.hidden_size = 64  # units of each layer
    config.amplitude = 1.0  # the input is uniform noise in [-amplitude, amplitude], one number a step
    config.lags = 100  # steps back over which inputs are recovered and derivatives measured
    config.examples = 16  # sequences whose derivatives are measured
    config.warm_up = 200  # steps before anything is measured
    config.steps = 10_000  # steps after these that readouts are fitted to; the last quarter tests them
    config.threads = 0  # programs compiled and run at the same time; 0: one for each core
    return varied(config, variant, VARIANTS)


def quick(config: ConfigDict) -> None:
    """10 s. The same steps on tiny networks."""
    config.activations, config.radii, config.forget_biases = "identity,tanh", "0.8,1.5", "1"
    config.seeds, config.hidden_size, config.lags, config.examples = 2, 8, 12, 4
    config.warm_up, config.steps = 50, 1000


VARIANTS = (quick,)
