"""Translations of older versions of Keras to the words of the one that reads them.

Pure functions over a file's JSON and its arrays: nothing here imports Keras.
"""
