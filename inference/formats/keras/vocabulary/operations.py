"""The operations that may stand in a Keras model as if they were layers.

They only compute. Keras' operations that take functions are refused, and TensorFlow's
functions that touch files, the process or Python are left out.
"""

from __future__ import annotations

OPERATIONS = frozenset(
    """
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool Add AffineTransform All AllClose
    Amax Amin Angle Any Append Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2
    Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit Average AveragePool
    BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift
    BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo CDist CTCDecode
    CTCLoss Cast CategoricalCrossentropy Cbrt Ceil Celu Cholesky CholeskyInverse Clip
    Concatenate Conj Conjugate Conv ConvTranspose ConvertToTensor Copy Corrcoef
    Correlate Cos Cosh CountNonzero CropImages Cross Cumprod Cumsum Deg2rad DepthToSpace
    DepthwiseConv Det Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot
    DotProductAttention Dsplit Dstack Eig Eigh Einsum ElasticTransform Elu EmptyLike
    Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1 ExtractPatches ExtractSequences FFT
    FFT2 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Fold Full FullLike
    GaussianBlur Gcd Gelu Geomspace GetItem Glu Greater GreaterEqual HSVToRGB HardShrink
    HardSigmoid HardSilu HardTanh Heaviside Histogram Hsplit Hstack Hypot I0 IFFT2 IRFFT
    ISTFT Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf
    Isreal Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log
    Log10 Log1p Log2 LogSigmoid LogSoftmax Logaddexp Logaddexp2 Logdet LogicalAnd
    LogicalNot LogicalOr LogicalXor Logspace Logsumexp Lstsq LuFactor MapCoordinates
    Matmul MatrixRank Max MaxPool Maximum Mean Median Meshgrid Min Minimum Mod Moments
    Moveaxis MultiHot Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax
    Nanmean Nanmedian Nanmin Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Ndim
    Negative Nextafter Nonzero Norm Normalize NotEqual OneHot OnesLike Outer PSNR Pad
    PadImages Percentile PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile RFFT
    RGBToGrayscale RGBToHSV RMSNorm Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6
    Repeat Reshape Resize RightShift Roll Rot90 Round Rsqrt SSIM STFT SVD SaturateCast
    ScaleAndTranslate Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin
    SegmentProd SegmentSum Select Selu SeparableConv Sigmoid Sign Signbit Silu Sin Sinc
    Sinh Size Slice SliceUpdate Slogdet SobelEdges SoftShrink Softmax Softplus Softsign
    Solve SolveTriangular Sort SpaceToDepth SparseCategoricalCrossentropy SparsePlus
    SparseSigmoid Sparsemax Split Sqrt Square Squareplus Squeeze Stack Std StopGradient
    Subtract Sum Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold
    Tile TopK Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique
    UnravelIndex Unstack Vander Var Vdot View ViewAsComplex ViewAsReal Vsplit Vstack
    Where ZerosLike
    """.split()
)

# keras/src/activations/activations.py: `activations.relu(x)` of a symbolic tensor.
ACTIVATION_OPERATIONS = frozenset({"Mish", "ReLU"})

# keras/src/quantizers/quantizers.py: `fake_quant_with_min_max_vars` of one.
QUANTIZER_OPERATIONS = frozenset({"FakeQuantWithMinMaxVars"})

ALL_OPERATIONS = OPERATIONS | ACTIVATION_OPERATIONS | QUANTIZER_OPERATIONS

_TAKES_A_FUNCTION = "it takes a Python function, which is never run from a model file"
REFUSED_OPERATIONS = dict.fromkeys(
    """
    AssociativeScan Cond ForiLoop JVP Map Scan Switch VectorizedMap WhileLoop
    """.split(),
    _TAKES_A_FUNCTION,
)
"""Operations of Keras that no file may have, and why."""

BASES = frozenset({"Operation", "SegmentReduction", "Function"})
"""Base classes of operations; not listed, so refused."""

_TENSORFLOW = {
    "math.": """
        abs accumulate_n acos acosh add add_n angle approx_max_k approx_min_k
        argmax argmin asin asinh atan atan2 atanh bessel_i0 bessel_i0e bessel_i1
        bessel_i1e betainc bincount ceil confusion_matrix conj cos cosh
        count_nonzero cumprod cumsum cumulative_logsumexp digamma divide
        divide_no_nan equal erf erfc erfcinv erfinv exp expm1 floor floordiv
        floormod greater greater_equal igamma igammac imag in_top_k
        invert_permutation is_finite is_inf is_nan is_non_decreasing
        is_strictly_increasing l2_normalize lbeta less less_equal lgamma log
        log1p log_sigmoid log_softmax logical_and logical_not logical_or
        logical_xor maximum minimum mod multiply multiply_no_nan ndtri negative
        nextafter not_equal polygamma polyval pow real reciprocal
        reciprocal_no_nan reduce_all reduce_any reduce_euclidean_norm
        reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod
        reduce_std reduce_sum reduce_variance rint round rsqrt scalar_mul
        segment_max segment_mean segment_min segment_prod segment_sum sigmoid
        sign sin sinh softmax softplus softsign sqrt square squared_difference
        subtract tan tanh top_k truediv unsorted_segment_max
        unsorted_segment_mean unsorted_segment_min unsorted_segment_prod
        unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py xlogy
        zero_fraction zeta
    """,
    "nn.": """
        atrous_conv2d atrous_conv2d_transpose avg_pool avg_pool1d avg_pool2d
        avg_pool3d batch_normalization bias_add conv1d conv1d_transpose conv2d
        conv2d_transpose conv3d conv3d_transpose conv_transpose convolution
        crelu ctc_beam_search_decoder ctc_greedy_decoder depth_to_space
        depthwise_conv2d dilation2d dropout elu embedding_lookup erosion2d gelu
        in_top_k l2_loss l2_normalize leaky_relu local_response_normalization
        log_softmax lrn max_pool max_pool1d max_pool2d max_pool3d
        max_pool_with_argmax moments normalize_moments pool relu relu6 selu
        separable_conv2d sigmoid sigmoid_cross_entropy_with_logits silu softmax
        softmax_cross_entropy_with_logits softplus softsign space_to_batch
        space_to_depth sparse_softmax_cross_entropy_with_logits
        sufficient_statistics swish tanh top_k weighted_moments zero_fraction
    """,
    "linalg.": """
        adjoint band_part cholesky cholesky_solve cross det diag diag_part eig
        eigh eigvals eigvalsh einsum expm eye global_norm inv l2_normalize
        logdet logm lstsq lu matmul matrix_rank matrix_transpose matvec norm
        normalize pinv qr set_diag slogdet solve sqrtm svd tensor_diag
        tensor_diag_part tensordot trace triangular_solve tridiagonal_matmul
        tridiagonal_solve
    """,
    "image.": """
        adjust_brightness adjust_contrast adjust_gamma adjust_hue
        adjust_saturation central_crop combined_non_max_suppression
        convert_image_dtype crop_and_resize crop_to_bounding_box decode_bmp
        decode_gif decode_image decode_jpeg decode_png encode_jpeg encode_png
        extract_glimpse extract_patches flip_left_right flip_up_down
        grayscale_to_rgb hsv_to_rgb image_gradients non_max_suppression
        non_max_suppression_padded pad_to_bounding_box per_image_standardization
        resize resize_with_crop_or_pad resize_with_pad rgb_to_grayscale
        rgb_to_hsv rgb_to_yiq rgb_to_yuv rot90 sobel_edges ssim total_variation
        transpose yiq_to_rgb yuv_to_rgb
    """,
    "strings.": """
        as_string bytes_split format join length lower ngrams reduce_join
        regex_full_match regex_replace split strip substr to_hash_bucket
        to_hash_bucket_fast to_hash_bucket_strong to_number unicode_decode
        unicode_encode unicode_script unicode_split unicode_transcode upper
    """,
    "signal.": """
        dct fft fft2d fft3d fftshift frame hamming_window hann_window idct ifft
        ifft2d ifft3d ifftshift inverse_mdct inverse_stft irfft irfft2d irfft3d
        linear_to_mel_weight_matrix mdct mfccs_from_log_mel_spectrograms
        overlap_and_add rfft rfft2d rfft3d stft
    """,
    "bitwise.": """
        bitwise_and bitwise_or bitwise_xor invert left_shift right_shift
    """,
    "__operators__.": """
        add eq getitem ne ragged_getitem
    """,
    "random.": """
        normal uniform truncated_normal categorical stateless_normal
        stateless_uniform
    """,
    "": """
        abs acos acosh add add_n argmax argmin argsort as_string asin asinh atan
        atan2 atanh batch_to_space bitcast boolean_mask broadcast_to cast
        clip_by_norm clip_by_value complex concat convert_to_tensor cos cosh
        cumsum divide dynamic_partition dynamic_stitch einsum ensure_shape equal
        exp expand_dims eye fill floor gather gather_nd greater greater_equal
        identity less less_equal linspace logical_and logical_not logical_or
        matmul maximum meshgrid minimum multiply negative norm not_equal one_hot
        ones ones_like pad parallel_stack pow range rank realdiv reduce_all
        reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min
        reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll
        round saturate_cast scalar_mul scatter_nd searchsorted sequence_mask
        shape shape_n sigmoid sign sin sinh size slice sort space_to_batch split
        sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh
        tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min
        tensor_scatter_nd_sub tensor_scatter_nd_update tensordot tile transpose
        truediv truncatediv truncatemod unique unravel_index unstack where zeros
        zeros_like
    """,
}

TENSORFLOW_FUNCTIONS = frozenset(
    f"{prefix}{name}" for prefix, names in _TENSORFLOW.items() for name in names.split()
)
"""Functions that a `TFOpLambda` of Keras 2 may call, by TensorFlow's public names."""
