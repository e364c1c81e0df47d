"""Translations of files of older Keras versions for the Keras that reads them.

Pure functions over a file's JSON and its arrays: nothing here imports Keras.
"""
