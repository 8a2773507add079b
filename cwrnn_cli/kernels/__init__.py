"""The recurrences of the layers, a folder per cell; the backend picks how, never what, is computed.

============  ==================================================================================
``backend``   how one of several ways to compute a layer is chosen, or refused with the reason
``reference`` the cells step by step, any device and dtype: the oracle
``autograd``  a fast forward pass and gradient as one function that all of autograd takes
``operator``  such a function as an operator, for torch.compile
``exported``  a loop inside of the graph, for torch.export and ONNX
``graphs``    many small kernels in a row as one CUDA graph
``sequences`` what is done with the steps of a sequence whatever the cell is
``clockwork`` CW-RNN and SRN: :func:`.clockwork.clockwork`, and its backends a file each
``lstm``      LSTM, likewise: the folder is named after the function
``gru``       GRU, likewise
``numba``     what compiled code for a CPU stands on: vectors, products, buffers, threads, the cache
              of compiled code; and what is compiled but no layer: training loops, beam search
============  ==================================================================================

The backends:

============  ==================================================================================
``reference`` :mod:`.reference`
``cascade``   module by module (clockwork only), any device and dtype
``compiled``  compiled by Numba; CPU, float32 or float64, tanh
``triton``    one Triton kernel per module, or per LSTM; a GPU, float32, tanh
``graph``     CUDA graphs of many ticks per module, or steps of an LSTM; a GPU, tanh
``exported``  a loop in the graph (:mod:`.exported`); one network
``torch``     torch's own, cuDNN's on a GPU (an SRN, GRU, or LSTM without peepholes; one network)
``auto``      the fastest of these for the shape, from measurement (results/bench); on a GPU, where
              nothing has been measured, the one with the least to launch
============  ==================================================================================

Each cell has its table of them, ``BACKENDS``. An explicit backend is obeyed, or refused with the
reason.
"""
