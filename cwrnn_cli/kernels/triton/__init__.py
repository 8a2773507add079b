"""What all Triton kernels share, and those that train; a layer's are beside its cell.

===========================  ======================================================================
``functions``                tanh and the logistic function
``launch``                   tiles, precision and warps of the layers' kernels
``resources``                every kernel compiled for a GPU that is not here: its registers, stack
                             and spills
``train_generator``          task 1's training: what is launched; a network per program
``train_generator_kernels``  its kernels
``train_classifier``         a whole training epoch of task 2 in one launch
``classifier``               task 2's networks: noise, readout and loss, updates
``sizes``                    how its arrays are padded
===========================  ======================================================================
"""
