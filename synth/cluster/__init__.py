"""Work shared out among processes, of this machine or of many, by dask.distributed (extra `synth-brats[dask]`)."""
