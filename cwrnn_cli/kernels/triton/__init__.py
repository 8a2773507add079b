"""What all Triton kernels share; those of a cell are beside it (``clockwork/``, ``lstm/``).

===============  ==================================================================================
``functions``    tanh and the logistic function
``resources``    every kernel compiled for a GPU that is not here: its registers, stack and spills
===============  ==================================================================================
"""
