"""Exported models: written by a run, read by `tfsc.evaluate` and by anyone else.

    export/saved_model/    SavedModel; class names, one a line, are its asset
    export/network.keras   the network for further training in Keras (import tfsc.layers.all_layers)
    export/recipe.flags    the recipe it was trained by
    export/export.json     step, classes, digest of the recipe, check, SHA-256 of each file

The SavedModel's signatures take [n, height, width, channels]: `serving_default` float32 0–255 and
`uint8`; both return "logits" and "probabilities", float32 [n, classes]. Both files compute in
float32, whatever the network was trained in, and are read back and checked (`check_export`) before
they take their place.
"""
