"""What all Triton kernels share; those of a cell are in its own folder.

===============  ==================================================================================
``functions``    tanh and the logistic function
``launch``       tiles, precision and warps of the layers' kernels
``resources``    every kernel compiled for a GPU that is not here: its registers, stack and spills
===============  ==================================================================================
"""
