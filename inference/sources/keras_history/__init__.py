"""What older versions of Keras wrote, in the words of the Keras that reads it.

Pure functions over a file's JSON and its arrays: nothing here imports Keras.
"""
