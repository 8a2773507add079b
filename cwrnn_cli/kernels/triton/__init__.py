"""What all Triton kernels share; those of a cell are in its own folder.

====================  =============================================================================
``functions``         tanh and the logistic function
``classifier``        task 2's networks: noise, readout and loss, updates
``train_classifier``  a whole training epoch of task 2 in one launch
``sizes``             how its arrays are padded
``resources``         kernels compiled for a GPU that is not here: their registers, stack and spills
====================  =============================================================================
"""
