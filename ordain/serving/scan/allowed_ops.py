"""Allow-list and deny-list of TensorFlow operations in a model.

The lists were reviewed against the operations registered in TensorFlow 2.21. An operation is
allowed if it only computes outputs from inputs, the model's variables and tables in memory. Not
allowed are those that overwrite their input in place (`InplaceUpdate`), that return uninitialized
memory (`Empty`, `FakeParam`, `ParallelConcat`), or that find a table by its name in a string
(`LookupTableFind`, not V2). Needs no TensorFlow.
"""

from __future__ import annotations

import re

#: Allowed operations by subject; the subjects are for review only.
_ALLOWED_CLASSES: dict[str, str] = {
    "graph": """
        Const Placeholder PlaceholderV2 PlaceholderWithDefault Identity IdentityN NoOp
        PartitionedCall StatefulPartitionedCall ControlTrigger Snapshot DeepCopy
        GuaranteeConst EnsureShape Assert CheckNumerics CheckNumericsV2 StopGradient
        PreventGradient ScalarSummary HistogramSummary MergeSummary
    """,
    "control flow": """
        If StatelessIf Case StatelessCase While StatelessWhile For Switch Merge Enter Exit
        NextIteration LoopCond MapDefun DeviceIndex
    """,
    "variables and state in memory": """
        VarHandleOp VarIsInitializedOp ReadVariableOp AssignVariableOp AssignAddVariableOp
        AssignSubVariableOp DisableCopyOnRead VariableShape DestroyResourceOp ResourceGather
        ResourceGatherNd ResourceScatterAdd ResourceScatterUpdate ResourceScatterNdAdd
        ResourceScatterNdUpdate Variable VariableV2 Assign IsVariableInitialized
    """,
    "tables in memory": """
        HashTableV2 AnonymousHashTable MutableHashTableV2 AnonymousMutableHashTable
        MutableHashTableOfTensorsV2 MutableDenseHashTableV2 AnonymousMutableDenseHashTable
        AnonymousMutableHashTableOfTensors InitializeTableV2 LookupTableFindV2 LookupTableSizeV2
        LookupTableExportV2 LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2
    """,
    "parsing of inputs": """
        ParseExample ParseExampleV2 ParseSingleExample ParseSequenceExample
        ParseSequenceExampleV2 ParseSingleSequenceExample DecodeJSONExample DecodeCSV DecodeRaw
        DecodePaddedRaw DecodeBase64 EncodeBase64 DecodeJpeg DecodeAndCropJpeg DecodePng DecodeBmp
        DecodeGif DecodeImage DecodeWav DecodeWebP ExtractJpegShape EncodeJpeg EncodePng
        StringToNumber AsString
    """,
    "text": """
        StringJoin StringLength StringLower StringUpper StringStrip StringSplit StringSplitV2
        StringNGrams StringFormat StringToHashBucket StringToHashBucketFast
        StringToHashBucketStrong Substr ReduceJoin UnsortedSegmentJoin RegexFullMatch RegexReplace
        StaticRegexFullMatch StaticRegexReplace UnicodeDecode UnicodeDecodeWithOffsets
        UnicodeEncode UnicodeScript UnicodeTranscode Fingerprint EditDistance
    """,
    "arithmetic": """
        Abs AccumulateNV2 Add AddN AddV2 Sub Mul MulNoNan Div DivNoNan RealDiv FloorDiv TruncateDiv
        FloorMod Mod TruncateMod Neg Inv Reciprocal Pow Sqrt Rsqrt Square SquaredDifference Exp
        Expm1 Log Log1p Xlogy Xlog1py Xdivy Sign Ceil Floor Rint Round Maximum Minimum ClipByValue
        Acos Acosh Asin Asinh Atan Atan2 Atanh Cos Cosh Sin Sinh Tan Tanh Angle Complex ComplexAbs
        Conj Real Imag Erf Erfc Erfinv Ndtri Lgamma Digamma Polygamma Zeta Igamma Igammac Betainc
        BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e BesselK1
        BesselK1e BesselY0 BesselY1 Dawsn Expint FresnelCos FresnelSin Spence NextAfter
        BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift PopulationCount
        Equal NotEqual ApproximateEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalNot
        LogicalOr IsFinite IsInf IsNan Cast Bitcast Bucketize BoostedTreesBucketize ToBool
        Cumprod Cumsum CumulativeLogsumexp
    """,
    "reductions and segments": """
        All Any Max Min Mean Prod Sum EuclideanNorm ArgMax ArgMin L2Loss Bincount DenseBincount
        HistogramFixedWidth SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd
        SegmentProdV2 SegmentSum SegmentSumV2 UnsortedSegmentMax UnsortedSegmentMin
        UnsortedSegmentProd UnsortedSegmentSum TopK TopKV2 ApproxTopK NthElement InTopK InTopKV2
        KthOrderStatistic IsotonicRegression
    """,
    "arrays": """
        BatchToSpace BatchToSpaceND BroadcastArgs BroadcastTo Concat ConcatOffset ConcatV2
        ConjugateTranspose DataFormatDimMap DataFormatVecPermute DepthToSpace Diag DiagPart
        DynamicPartition DynamicStitch ParallelDynamicStitch ExpandDims ExtractImagePatches
        ExtractVolumePatches Fill Gather GatherNd GatherV2 InvertPermutation LinSpace ListDiff
        LowerBound UpperBound MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2
        MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3
        MirrorPad OneHot OnesLike Pack Pad PadV2 Range Rank Reshape Reverse ReverseSequence
        ReverseV2 Roll ScatterNd ScatterNdNonAliasingAdd Select SelectV2 SetSize Shape ShapeN Size
        Slice SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice
        TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate
        TensorStridedSliceUpdate Tile Transpose Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2
        Unpack UnravelIndex Where ZerosLike
    """,
    "linear algebra and signals": """
        BatchMatMul BatchMatMulV2 BatchMatMulV3 MatMul Einsum Cross Cholesky Lu Qr Svd Eig
        SelfAdjointEig SelfAdjointEigV2 MatrixDeterminant LogMatrixDeterminant MatrixExponential
        MatrixInverse MatrixLogarithm MatrixSolve MatrixSolveLs MatrixSquareRoot
        MatrixTriangularSolve BandedTriangularSolve TridiagonalMatMul TridiagonalSolve
        FFT FFT2D FFT3D FFTND IFFT IFFT2D IFFT3D IFFTND RFFT RFFT2D RFFT3D RFFTND IRFFT IRFFT2D
        IRFFT3D IRFFTND AudioSpectrogram Mfcc
    """,
    "neural networks": """
        AvgPool AvgPool3D BiasAdd BiasAddV1 BatchNormWithGlobalNormalization BlockLSTM BlockLSTMV2
        Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput
        Conv3DBackpropInputV2 CTCBeamSearchDecoder CTCGreedyDecoder DepthwiseConv2dNative
        Dilation2D Elu FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2
        FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell LRN LSTMBlockCell
        LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Relu Relu6 Selu Sigmoid
        Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign
        SparseSoftmaxCrossEntropyWithLogits CudnnRNN CudnnRNNV2 CudnnRNNV3
    """,
    "gradients": """
        AvgPoolGrad AvgPool3DGrad BatchNormWithGlobalNormalizationGrad BiasAddGrad BlockLSTMGrad
        BlockLSTMGradV2 BroadcastGradientArgs CholeskyGrad Conv2DBackpropFilter
        Conv2DBackpropFilterV2 Conv3DBackpropFilter Conv3DBackpropFilterV2 CropAndResizeGradBoxes
        CropAndResizeGradImage DepthwiseConv2dNativeBackpropFilter
        DepthwiseConv2dNativeBackpropInput Dilation2DBackpropFilter Dilation2DBackpropInput EluGrad
        FakeQuantWithMinMaxArgsGradient FakeQuantWithMinMaxVarsGradient
        FakeQuantWithMinMaxVarsPerChannelGradient FractionalAvgPoolGrad FractionalMaxPoolGrad
        FusedBatchNormGrad FusedBatchNormGradV2 FusedBatchNormGradV3 GRUBlockCellGrad IgammaGradA
        InvGrad LRNGrad LSTMBlockCellGrad LeakyReluGrad MaxPoolGrad MaxPoolGradV2
        MaxPoolGradWithArgmax MaxPool3DGrad MirrorPadGrad QuantizeAndDequantizeV4Grad
        RandomGammaGrad ReciprocalGrad Relu6Grad ReluGrad ResizeBicubicGrad ResizeBilinearGrad
        ResizeNearestNeighborGrad RsqrtGrad ScaleAndTranslateGrad SeluGrad SigmoidGrad SoftplusGrad
        SoftsignGrad SparseAddGrad SparseFillEmptyRowsGrad SparseSegmentMeanGrad
        SparseSegmentSqrtNGrad SparseSegmentSumGrad SparseSliceGrad SqrtGrad StridedSliceGrad
        TanhGrad TileGrad
    """,
    "images": """
        AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize CombinedNonMaxSuppression
        DrawBoundingBoxes DrawBoundingBoxesV2 ExtractGlimpse ExtractGlimpseV2
        GenerateBoundingBoxProposals HSVToRGB RGBToHSV ImageProjectiveTransformV2
        ImageProjectiveTransformV3 NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
        NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps RandomCrop
        ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
    """,
    "sparse": """
        DenseCountSparseOutput DenseToDenseSetOperation DenseToSparseSetOperation
        DeserializeManySparse DeserializeSparse SerializeManySparse SerializeSparse SparseAdd
        SparseBincount SparseConcat SparseCountSparseOutput SparseCross SparseCrossHashed
        SparseCrossV2 SparseDenseCwiseAdd SparseDenseCwiseDiv SparseDenseCwiseMul
        SparseFillEmptyRows SparseMatMul SparseReduceMax SparseReduceMaxSparse SparseReduceSum
        SparseReduceSumSparse SparseReorder SparseReshape SparseSegmentMean
        SparseSegmentMeanWithNumSegments SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments
        SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice SparseSoftmax
        SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd
        SparseTensorDenseMatMul SparseToDense SparseToSparseSetOperation
    """,
    "ragged, lists and maps": """
        RaggedBincount RaggedCountSparseOutput RaggedCross RaggedFillEmptyRows RaggedGather
        RaggedRange RaggedTensorFromVariant RaggedTensorToSparse RaggedTensorToTensor
        RaggedTensorToVariant CompositeTensorVariantFromComponents
        CompositeTensorVariantToComponents EmptyTensorList TensorListConcat TensorListConcatLists
        TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
        TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack
        TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
        TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit
        TensorListStack EmptyTensorMap TensorMapErase TensorMapHasKey TensorMapInsert
        TensorMapLookup TensorMapSize TensorMapStackKeys TensorArrayV3 TensorArrayCloseV3
        TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
        TensorArraySizeV3 TensorArraySplitV3 TensorArrayWriteV3 OptionalFromValue OptionalGetValue
        OptionalHasValue OptionalNone
    """,
    "random numbers": """
        Multinomial ParameterizedTruncatedNormal RandomGamma RandomPoisson RandomPoissonV2
        RandomShuffle RandomIndexShuffle RandomStandardNormal RandomUniform RandomUniformInt
        TruncatedNormal RngReadAndSkip RngSkip NonDeterministicInts StatefulRandomBinomial
        StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
        StatefulUniformFullInt StatefulUniformInt StatelessMultinomial
        StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2
        StatelessRandomGammaV3 StatelessRandomGetAlg StatelessRandomGetKeyCounter
        StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
        StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
        StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2
        StatelessRandomUniformV2 StatelessShuffle StatelessTruncatedNormal
        StatelessTruncatedNormalV2
    """,
    "quantized arithmetic": """
        Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
        FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantize QuantizeAndDequantizeV2
        QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeDownAndShrinkRange QuantizeV2
        QuantizedAdd QuantizedAvgPool QuantizedBiasAdd QuantizedConcat QuantizedConcatV2
        QuantizedConv2D QuantizedMatMul QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6
        QuantizedReluX QuantizedReshape RequantizationRange Requantize
    """,
}

ALLOWED = frozenset(name for names in _ALLOWED_CLASSES.values() for name in names.split())

#: Allowed only where a model saves and restores its own variables, see `file_paths`.
SAVER_ONLY = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})
#: Allowed only on an asset of the model, see `file_paths`.
ASSET_ONLY = frozenset({"InitializeTableFromTextFileV2"})

_PYTHON = "runs Python code of the process that loads the model"
_READS = "reads files"
_WRITES = "writes files"
_PRINTS = "prints, or writes to a file or pipe"
_HOST = "calls back into the host, or leaves the machine"
_STREAMS = "is part of an input pipeline: such operations read and write files"
_OPAQUE = "holds a program that this scan cannot read"
_HARMS = "stops or blocks the process"

#: Denied operations with the reason, even if they are on another list; the first match counts.
_DENIED: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (reason, re.compile(pattern))
    for reason, pattern in (
        (_PYTHON, r"(Eager)?PyFunc(Stateless)?|NumpyFunction|_?ScopedAllocatorPy.*"),
        (_PRINTS, r"Print(V2)?|DumpTensor|CalibrationStatisticsSaver|CustomAggregator"),
        (
            _WRITES,
            r"WriteFile|Save(V2|Slices)?|MergeV2Checkpoints|DistributedSave|"
            r"(Write|Create|Flush|Close).*Summary.*|SummaryWriter|ImportEvent|.*AudioSummary.*|"
            r"Debug(Identity|NumericSummary|NanCount|Gradient).*",
        ),
        (
            _READS,
            r"ReadFile|MatchingFiles|Restore(V2|Slice)?|RecordInput|.*Reader(V2)?|Reader.*|"
            r"ImmutableConst|InitializeTableFromTextFile(V2)?|GenerateVocabRemapping|"
            r"LoadAndRemapMatrix|LoadTPU.*|LoadAllTPU.*|.*CandidateSampler|DecodeProtoV2|"
            r"EncodeProto|FileSystemSetConfiguration|ShardedFile(name|spec)|LMDB.*|"
            r"(Load|Retrieve)TPUEmbedding.*",
        ),
        (_STREAMS, r".*Dataset.*|.*Iterator.*|.*MemoryCache|.*Cache(Handle)?|Snapshot.*Reader"),
        (_OPAQUE, r"Xla.*|_Xla.*|.*Mlir.*|TPU.*|_TPU.*|RemoteFusedGraphExecute|.*Dtensor.*"),
        (
            _HOST,
            r"_?(Host)?(Send|Recv)|_?RecvTPU.*|_?Collective.*|Nccl.*|.*Infeed.*|.*Outfeed.*|"
            r"RemoteCall|Rpc.*|.*Rpc.*|TryRpc|ConfigureDistributed.*|ShutdownDistributed.*|"
            r"WorkerHeartbeat|CopyToMesh|Relayout.*|.*DataService.*|GetSession.*|"
            r"DeleteSessionTensor",
        ),
        (_HARMS, r"Abort|Sleep.*|.*Queue.*|Barrier.*|Stage|Unstage|.*MapStage|Mutex.*"),
    )
)


def denied_because(operation: str) -> str | None:
    """Reason why an operation is denied, as the end of a sentence; None if it is not.

    The deny-list overrides the allow-list and the operations that a model recorded at its export.
    Callers handle the uses that `SAVER_ONLY` and `ASSET_ONLY` allow.
    """
    # A name may have a namespace, as in `Project>ReadFile`.
    name = operation.rpartition(">")[2]
    for reason, pattern in _DENIED:
        if pattern.fullmatch(name):
            return reason
    return None
