"""Keras' classes and functions that a file may name, and the modules that hold them.

The lists cover Keras 3 and tf_keras; a test compares them with both. Keras itself is
not imported.
"""

from __future__ import annotations

import re

from inference.formats.keras.vocabulary.operations import (
    ACTIVATION_OPERATIONS,
    OPERATIONS,
    QUANTIZER_OPERATIONS,
    REFUSED_OPERATIONS,
)

MODELS = frozenset({"Functional", "Model", "Sequential"})

LAYERS = frozenset(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D
    AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
    AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AddLoss AddMetric
    AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average
    AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D
    BatchNormalization BatchNormalizationV1 BatchNormalizationV2 Bidirectional
    CategoryEncoding CenterCrop Concatenate
    ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D
    Convolution1D Convolution1DTranspose Convolution2D Convolution2DTranspose
    Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU
    CuDNNLSTM CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot
    Dropout ELU EinsumDense Embedding Equalization Flatten GRU GRUCell GRUCellV1
    GRUCellV2 GRUV1 GRUV2 GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D
    GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
    GroupQueryAttention GroupedQueryAttention HashedCrossing Hashing Identity
    InputLayer IntegerLookup
    LSTM LSTMCell LSTMCellV1 LSTMCellV2 LSTMV1 LSTMV2 LayerNormalization LeakyReLU
    LocallyConnected1D LocallyConnected2D Masking MaxNumBoundingBoxes MaxPool1D
    MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum
    MelSpectrogram Minimum MixUp MultiHeadAttention Multiply Normalization PReLU
    Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness
    RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
    RandomElasticTransform RandomErasing RandomFlip RandomFourierFeatures
    RandomGaussianBlur RandomGrayscale RandomHeight RandomHue RandomInvert
    RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU
    RepeatVector Rescaling Reshape Resizing ReversibleEmbedding STFTSpectrogram
    SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D
    SimpleRNN SimpleRNNCell SlicingOpLambda Softmax Solarization SpatialDropout1D
    SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells
    StringLookup Subtract SyncBatchNormalization TFOpLambda TensorFlowOpLayer
    TextVectorization ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """.split()
)

# keras/src/legacy/layers.py: those that only files of older Keras have; a model read
# from one and saved again names them there.
LEGACY_LAYERS = frozenset({"AlphaDropout", "RandomHeight", "RandomWidth"})
LEGACY_LAYERS |= {"ThresholdedReLU"}

# keras/src/layers/preprocessing/feature_space.py: what a model of encoded features has.
FEATURE_SPACE = frozenset({"TFDConcat", "TFDIdentity"})

INITIALIZERS = frozenset(
    """
    Constant ConstantV2 GlorotNormal GlorotNormalV2 GlorotUniform GlorotUniformV2
    HeNormal HeNormalV2 HeUniform HeUniformV2 Identity IdentityInitializer
    IdentityV2 LecunNormal LecunNormalV2 LecunUniform LecunUniformV2 Ones OnesV2
    Orthogonal OrthogonalInitializer OrthogonalV2 RandomNormal RandomNormalV2
    RandomUniform RandomUniformV2 STFT STFTInitializer TruncatedNormal
    TruncatedNormalV2 VarianceScaling VarianceScalingV2 Zeros ZerosV2 constant
    glorot_normal glorot_normalV2 glorot_uniform glorot_uniformV2 he_normal
    he_normalV2 he_uniform he_uniformV2 identity lecun_normal lecun_normalV2
    lecun_uniform lecun_uniformV2 normal one ones orthogonal random_normal
    random_uniform stft truncated_normal uniform variance_scaling zero zeros
    """.split()
)

REGULARIZERS = frozenset(
    """
    L1 L1L2 L2 OrthogonalRegularizer l1 l1_l2 l1l2 l2 orthogonal_regularizer
    """.split()
)

CONSTRAINTS = frozenset(
    """
    MaxNorm MinMaxNorm NonNeg RadialConstraint UnitNorm max_norm maxnorm
    min_max_norm non_neg nonneg radial_constraint unit_norm unitnorm
    """.split()
)

LOSSES = frozenset(
    """
    BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy
    CategoricalFocalCrossentropy CategoricalGeneralizedCrossEntropy CategoricalHinge
    Circle CosineSimilarity Dice Hinge Huber KLDivergence LogCosh MeanAbsoluteError
    MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
    SparseCategoricalCrossentropy SquaredHinge Tversky
    """.split()
)

METRICS = frozenset(
    """
    AUC Accuracy BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy
    CategoricalCrossentropy CategoricalHinge ConcordanceCorrelation CosineSimilarity
    F1Score FBetaScore FalseNegatives FalsePositives Hinge IoU KLDivergence
    LogCoshError Mean MeanAbsoluteError MeanAbsolutePercentageError MeanIoU
    MeanMetricWrapper MeanRelativeError MeanSquaredError MeanSquaredLogarithmicError
    MeanTensor OneHotIoU OneHotMeanIoU PearsonCorrelation Poisson Precision
    PrecisionAtRecall R2Score Recall RecallAtPrecision RootMeanSquaredError
    SensitivityAtSpecificity SparseCategoricalAccuracy SparseCategoricalCrossentropy
    SparseTopKCategoricalAccuracy SpecificityAtSensitivity SquaredHinge Sum
    TopKCategoricalAccuracy TrueNegatives TruePositives
    """.split()
)

OPTIMIZERS = frozenset(
    """
    Adadelta Adafactor Adagrad Adam AdamW Adamax CosineDecay CosineDecayRestarts
    ExponentialDecay Ftrl InverseTimeDecay Lamb Lion LossScaleOptimizer
    MultiOptimizer Muon Nadam OptimizerMap PiecewiseConstantDecay PolynomialDecay
    RMSprop SGD ScheduleFreeAdamW
    """.split()
)

POLICIES = frozenset(
    """
    AWQDTypePolicy DTypePolicy DTypePolicyMap FloatDTypePolicy GPTQDTypePolicy
    Int4DTypePolicy Policy QuantizedDTypePolicy QuantizedFloat8DTypePolicy
    """.split()
)

QUANTIZERS = frozenset(
    """
    AbsMaxQuantizer Float8QuantizationConfig Int4QuantizationConfig
    Int8QuantizationConfig
    """.split()
)

SEEDS = frozenset({"SeedGenerator"})

APPLICATIONS = frozenset({"CustomScaleLayer", "LayerScale", "StochasticDepth"})
"""Layers of the models that come with Keras, defined beside them."""

ACTIVATIONS = frozenset(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish
    hard_tanh leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid
    silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax
    squareplus swish tanh tanh_shrink threshold
    """.split()
)

LOSS_AND_METRIC_FUNCTIONS = frozenset(
    """
    KLD MAE MAPE MSE MSLE binary_accuracy binary_crossentropy
    binary_focal_crossentropy categorical_accuracy categorical_crossentropy
    categorical_focal_crossentropy categorical_generalized_cross_entropy
    categorical_hinge circle concordance_correlation cosine_similarity ctc dice
    hinge huber kl_divergence kld kullback_leibler_divergence log_cosh logcosh mae
    mape mean_absolute_error mean_absolute_percentage_error mean_squared_error
    mean_squared_logarithmic_error mse msle pearson_correlation poisson
    sparse_categorical_accuracy sparse_categorical_crossentropy
    sparse_top_k_categorical_accuracy squared_hinge top_k_categorical_accuracy
    tversky
    """.split()
)

FUNCTIONS = (
    ACTIVATIONS | INITIALIZERS | REGULARIZERS | CONSTRAINTS | LOSS_AND_METRIC_FUNCTIONS
)

# keras/src/quantizers/gptq.py and awq.py of Keras 3.15: their layers are written with
# one variable less than they are read with.
_UNREAD = "Keras itself can't read the weights that it quantizes with it"

REFUSED_CLASSES = {
    "Lambda": "it holds Python code, which is never run from a model file",
    "TFSMLayer": "it loads another SavedModel from a path",
    "TorchModuleWrapper": "it holds a pickle, which is Python code",
    "JaxLayer": "it holds Python functions",
    "FlaxLayer": "it holds Python functions",
    "Distiller": "it trains a model by another one; save its student alone",
    "DropoutWrapper": "it holds Python functions",
    "ResidualWrapper": "it holds Python functions",
    "DeviceWrapper": "it wraps cells that may hold Python functions",
    "_RNNCellWrapper": "it wraps cells that may hold Python functions",
    "ClassMethod": "it calls any method of TensorFlow by its name",
    "InstanceMethod": "it calls any method of a tensor by its name",
    "InstanceProperty": "it reads any attribute of a tensor by its name",
    "DenseFeatures": "its feature columns read vocabularies from paths",
    "SequenceFeatures": "its feature columns read vocabularies from paths",
    "AWQConfig": _UNREAD,
    "GPTQConfig": _UNREAD,
    "FeatureSpace": "it is no model; save one from its inputs to what follows it",
    "DynamicEmbedding": "it changes its vocabulary while it is served",
    "DynamicLookup": "it changes its vocabulary while it is served",
}
"""Classes of Keras that no permission allows, and why."""

ABSTRACT = frozenset(
    """
    AbstractRNNCell BaseAdaptiveAveragePooling BaseAdaptiveMaxPooling
    BaseAdaptivePooling BaseConv BaseConvTranspose BaseDepthwiseConv BaseGlobalPooling
    BaseImagePreprocessingLayer BasePooling BaseRandomLayer BaseSeparableConv
    BaseSpatialDropout BatchNormalizationBase ConvLSTM ConvLSTMCell DataLayer
    IndexLookup InputSpec Layer LinearModel Merge PreprocessingLayer WideDeepModel
    Wrapper
    """.split()
)
"""Keras' bases, and models of its own that no file needs; not listed, so refused."""

OWN_PACKAGES = ("keras", "tf_keras", "keras_hub", "keras_cv", "keras_nlp")
"""The packages that Keras itself imports for the class that a file names."""

OPTIONAL = {
    "keras_cv": "keras-cv",
    "keras_hub": "keras-hub",
    "keras_nlp": "keras-nlp",
}
"""The packages among them that Keras doesn't come with, with their pip names."""

_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_HOMES = (
    (LAYERS, ("keras.layers", "keras.engine")),
    (FEATURE_SPACE, ("keras.layers",)),
    (LEGACY_LAYERS, ("keras._legacy.layers", "keras.legacy.layers")),
    (MODELS, ("keras", "keras.models", "keras.engine")),
    (INITIALIZERS, ("keras.initializers",)),
    (REGULARIZERS, ("keras.regularizers",)),
    (CONSTRAINTS, ("keras.constraints",)),
    (LOSSES, ("keras.losses",)),
    (METRICS, ("keras.metrics",)),
    (OPTIMIZERS, ("keras.optimizers", "keras.mixed_precision")),
    (POLICIES, ("keras", "keras.dtype_policies", "keras.mixed_precision")),
    (QUANTIZERS, ("keras.quantizers",)),
    (SEEDS, ("keras.random",)),
    (APPLICATIONS, ("keras.applications",)),
    (OPERATIONS, ("keras.ops",)),
    (ACTIVATION_OPERATIONS, ("keras.activations",)),
    (QUANTIZER_OPERATIONS, ("keras.quantizers",)),
    (
        frozenset({"function"}),
        (
            "keras.activations",
            "keras.constraints",
            "keras.initializers",
            "keras.losses",
            "keras.metrics",
            "keras.ops",
            "keras.regularizers",
        ),
    ),
)


def is_keras_class(class_name: str, module: str | None) -> bool:
    """Return whether `class_name` is Keras' own, and `module` one that has it.

    Files before Keras 3 have no module: Keras then looks among its own classes.
    """
    return any(
        class_name in names and (module is None or _is_one_of(module, homes))
        for names, homes in _HOMES
    )


def refused_operation(class_name: str, module: str | None) -> str | None:
    """Return why no file may have this operation of Keras' own; `None` for others."""
    reason = REFUSED_OPERATIONS.get(class_name)
    own = module is None or _is_one_of(module, ("keras.ops",))
    return reason if own else None


def top_package(module: str | None) -> str:
    """Return the package of `module`; `""` if it isn't a module's name."""
    return module.partition(".")[0] if module and _DOTTED.fullmatch(module) else ""


def _is_one_of(module: str, homes: tuple[str, ...]) -> bool:
    if top_package(module) not in ("keras", "tf_keras"):
        return False

    public = re.sub(r"^(tf_)?keras(\.src)?", "keras", module)
    return any(
        public == home or (home != "keras" and public.startswith(f"{home}."))
        for home in homes
    )
