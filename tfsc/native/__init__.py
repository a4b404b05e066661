"""Operations in C++, compiled on the machine that needs them; each has a TensorFlow equivalent."""
