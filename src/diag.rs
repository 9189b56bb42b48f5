//! Diagnostics: every finding about a user's input has a code, a place, a message with the values
//! that clash, and a remedy. All findings of one run are collected in [`Diagnostics`].
//!
//! [`CODES`] is the one table of codes; `nestc explain E204` prints from it.

use std::fmt;

/// What the process exits with when a diagnostic ends it (see the README, "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExitClass {
    /// A stated check failed (`--fail-if`, bit-exactness): exit 1.
    CheckFailed,
    /// Wrong use or input: exit 2.
    Input,
    /// The surroundings failed (disk, toolchain, probe): exit 3.
    Surroundings,
    /// nestc contradicts itself or an independent runtime: exit 101, as a panic does.
    Bug,
}

impl ExitClass {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            ExitClass::CheckFailed => 1,
            ExitClass::Input => 2,
            ExitClass::Surroundings => 3,
            ExitClass::Bug => 101,
        }
    }
}

/// A row of the table of codes.
#[derive(Debug)]
pub struct CodeInfo {
    /// `E204`.
    pub code: &'static str,
    /// How the process exits.
    pub exit: ExitClass,
    /// One line, lower case, without full stop.
    pub title: &'static str,
    /// What it means, why it matters and what to do, for `nestc explain`.
    pub explanation: &'static str,
}

/// A diagnostic code: a row of [`CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl Code {
    /// The row of the table; every code constant is in it (held by a test).
    pub fn info(self) -> &'static CodeInfo {
        CODES
            .iter()
            .find(|row| row.code == self.0)
            .unwrap_or(&CODES[0])
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! codes {
    ($($name:ident $code:literal $exit:ident $title:literal $explanation:literal;)*) => {
        $(#[doc = $title] pub const $name: Code = Code($code);)*
        /// Every code nestc can report, in order.
        pub static CODES: &[CodeInfo] = &[
            $(CodeInfo { code: $code, exit: ExitClass::$exit, title: $title, explanation: $explanation },)*
        ];
    };
}

codes! {
    // E0xx: use of the tool and the surroundings
    BAD_ARGUMENT "E001" Input "an argument has no valid value"
        "An option was given a value outside its range or of the wrong form. The message names the option, the value and what is accepted.";
    IO_FAILED "E002" Surroundings "a file could not be read or written"
        "The operating system refused a file operation. Check that the path exists, that you may write there and that the disk has room. nestc writes beside the target and renames at the end, so nothing half-written is left.";
    UNKNOWN_CODE "E003" Input "there is no such diagnostic code"
        "`nestc explain` was asked for a code that nestc never reports. Codes are the letter E and three digits.";
    NO_CALIBRATION "E004" Input "no images to calibrate with"
        "int8 ranges are set by running real images through the network. Models that `nestc train` wrote remember the data they were trained on; for any other model, or where those data are not at their place any more, name images with --calibrate SPEC.";
    CONDITION_HOLDS "E005" CheckFailed "a --fail-if condition holds"
        "The bench measured a value for which a condition given with --fail-if is true. The report is complete; only the exit code tells of it.";
    NOT_MEASURED "E006" Input "a --fail-if condition asks for what was not measured"
        "A condition names a level the model does not have, or the accuracy where no labelled images were given. A condition that cannot be judged is refused rather than taken as passed.";
    OUTPUT_IS_INPUT "E007" Input "the output would overwrite the input"
        "The file named with -o is the model that is read. Choose another name.";
    NO_PROBE "E008" Surroundings "this build cannot use debug probes"
        "`nestc bench --on probe` and `nestc probes` need the feature `probe`, which brings in the probe-rs library, and this nestc was built without. Build it with `cargo install --path . --features probe`.";
    NO_SUCH_FILE "E009" Input "there is no such file or folder"
        "Nothing is at the path that was given, or the folder of a file to be written does not exist. Check the spelling and the folder that nestc was started in; nestc makes no folders on the way to an output.";
    // E1xx: reading ONNX files
    NOT_A_MODEL "E100" Input "the file is not an ONNX model"
        "An ONNX file is one protobuf message holding a graph. This file is empty, cut short, of another kind or damaged. Download or export it again; for PyTorch, Keras and TensorFlow Lite files the message names the converter.";
    OPSET "E101" Input "the operator set is not supported"
        "Operators change from one version of ONNX's operator set to the next. nestc reads versions 11 to 25. Convert others: onnx.version_converter.convert_version(onnx.load(path), 17).";
    DUPLICATE_NAME "E102" Input "two tensors have one name"
        "ONNX graphs are in single assignment form: every tensor is given exactly once, by the input, an initializer or a node. With two givers it is undefined which of them a reader means.";
    UNDEFINED_TENSOR "E103" Input "a tensor is read that nothing gives"
        "A node or output names a tensor that is no input, initializer or output of a node. Usually the weights were left out of the export (export_params=False) or a node was removed by hand.";
    CYCLE "E104" Input "the graph is cyclic"
        "A node depends on its own output, so there is no order in which the nodes could run. Recurrence must be unrolled before export.";
    TENSOR_TYPE "E105" Input "a constant has an unusable element type"
        "Weights may be FLOAT, DOUBLE, FLOAT16 or BFLOAT16 (all are computed as FLOAT), shapes and indices any integer type. Text, complex, 8-bit float and 4-bit types are not read.";
    TENSOR_SIZE "E106" Input "a constant's extents and data disagree"
        "The extents of a tensor must multiply to the number of elements stored, be non-negative and stay below 2^24 elements. Otherwise the file is damaged or was edited by hand.";
    SPARSE_TENSOR "E107" Input "sparse initializers are not supported"
        "nestc finds zeros in ordinary dense tensors and encodes them itself. Store the tensor densely.";
    EXTERNAL_DATA "E108" Input "external data cannot be read"
        "Large models keep weights in a file beside the .onnx file (PyTorch's default since 2.9). That file is missing, too short or described wrongly. Copy both files together.";
    EXTERNAL_OUTSIDE "E109" Input "external data outside the model's folder"
        "A model may name only files in its own folder or below it, also after following symbolic links: otherwise opening a model from a stranger could read any file of yours.";
    QUANTISATION "E110" Input "a quantised tensor cannot be read"
        "Quantised files are read in the QDQ format (QuantizeLinear, DequantizeLinear around operators over numbers) and as QLinear operators, with their own scales. Activations must be INT8 or UINT8 with one scale and zero point a tensor, weights with one or one a channel, and integers must be read in the steps they were written in.";
    PRECISION "E111" Input "the model is not in single precision"
        "A warning: the model computes in half, bfloat16 or double precision, nestc in single. Results differ in the last digits.";
    NEST_VERSION "E120" Input "the .nest.onnx file has another format version"
        "The nested model's document states its format version. This nestc does not know it: the file was written by a newer nestc. Update nestc, or export a level as plain ONNX there.";
    NEST_DAMAGED "E121" Input "the nested part of a .nest.onnx file is damaged"
        "The document or the tensors of the levels do not fit the network in the same file, usually because another tool rewrote it. Take the file as nestc wrote it; other tools may read it but not change it.";
    // E2xx: what the graph says (operators, shapes, weights)
    UNSUPPORTED_OP "E200" Input "an operator is not supported"
        "Supported are: Add, AveragePool, BatchNormalization, Cast, Clip, Concat, Conv, ConvTranspose, DepthToSpace, DequantizeLinear, Div, Dropout, Elu, Exp, Expand, Flatten, Gather (constant indices), Gemm, GlobalAveragePool, GlobalMaxPool, HardSigmoid, HardSwish, Identity, LeakyRelu, MatMul, Max, MaxPool, Min, Mul, Neg, PRelu, Pad, QLinear operators, QuantizeLinear, ReduceMax, ReduceMean, Relu, Reshape, Resize (nearest, linear), Shape, Sigmoid, Slice, Softmax, SpaceToDepth, Split, Squeeze, Sub, Tanh, Transpose, Unsqueeze; over constants also Constant, ConstantOfShape, Floor, Range, Sqrt. All but divisions by tensors run on the device (E502). `nestc check` lists every unsupported node of a model at once.";
    CONTROL_FLOW "E201" Input "control flow is not supported"
        "If, Loop and Scan hold graphs of their own that run depending on data. Firmware has one fixed sequence of layers: trace the model at export so that the choice is made then, and simplify it.";
    ATTRIBUTE "E202" Input "an attribute is missing, unknown or of the wrong type"
        "Attributes are fixed by the operator's definition. Unknown ones come from runtime-specific exports and may change what the node computes, so they are not ignored.";
    ATTRIBUTE_VALUE "E203" Input "an attribute has a value that is not supported"
        "The operator is supported, but not with this value; the message says what is.";
    NODE_ARITY "E204" Input "a node has the wrong number of inputs or outputs"
        "The number of inputs is fixed by the operator's definition. The file is damaged or was written for another operator set.";
    NOT_CONSTANT "E205" Input "weights are computed at run time"
        "Weights, shapes and bounds must be known at compile time: as initializers, Constant nodes or shape arithmetic over them.";
    NOT_A_VALUE "E206" Input "an operator over constants alone"
        "This part of the graph does not depend on the picture and uses operators nestc does not compute at import. Simplify the model, which replaces it by its result.";
    SHAPE_MISMATCH "E207" Input "extents contradict each other"
        "The extents of a value and of the parameters applied to it do not fit, or a window does not fit into its input. The file is damaged, or it was exported for another picture size.";
    NON_FINITE "E208" Input "a parameter is infinite or not a number"
        "NaN or infinite weights make every result meaningless and cannot be quantised. The training run diverged, or the file is damaged.";
    NEGATIVE_VARIANCE "E209" Input "a normalisation has no positive variance"
        "BatchNormalization divides by sqrt(variance + epsilon), which must be positive.";
    TRAINING_MODE "E210" Input "the model was exported in training mode"
        "In training mode normalisation uses the batch's own statistics and dropout drops. Call model.eval() before export.";
    CLIP_BOUNDS "E211" Input "Clip has bounds that contradict each other"
        "The lower bound is above the upper one, or one of them is not a number: no value lies between them. The file is damaged, or its bounds were computed wrongly.";
    BROADCAST "E212" Input "extents that cannot be broadcast"
        "Elementwise operators take two values, or a value and a constant, whose extents along each axis are the same or 1. A constant does not enlarge a value.";
    LAYOUT "E213" Input "images of a batch are mixed"
        "nestc follows Transpose, Reshape and the like through the network, image by image: the batch must stay the first axis. An operator over more than three axes of an image that are longer than 1 may not be possible either.";
    GRAPH_INPUT "E214" Input "the graph's input is not one picture"
        "nestc compiles networks of one input: a batch of pictures (NxCxHxW, NxHxWxC, or NxHxW where the network adds the axis of channels), of signals (NxCxL) or of vectors (NxC) with fixed extents. The batch may be open.";
    GRAPH_OUTPUT "E215" Input "the graph's output is unusable"
        "A graph needs at least one output; each must be computed from the picture, have the batch as its first axis, and differ from the others.";
    VALUE_TOO_LARGE "E216" Input "a value is too large"
        "A value of more than 2^24 elements is a sign of a damaged file, or of a network far beyond a microcontroller.";
    CANNOT_FOLD "E217" Input "a constant cannot be computed at import"
        "nestc computes the shape arithmetic of raw exports itself. This node goes beyond it: simplify the model.";
    UNSOUND_IMPORT "E218" Bug "the imported graph breaks a rule"
        "nestc checks every graph against numbered rules. A file that passes the importer but breaks one shows an error in the importer: please report it with the model.";
    ORACLE_SKIPPED "E219" Input "the import could not be checked independently"
        "A warning: nestc runs every model it reads in tract, an independent runtime, and compares. tract cannot run this file, so only nestc's own reading stands.";
    ORACLE_DISAGREES "E220" Bug "the import disagrees with an independent runtime"
        "nestc runs every model it reads in tract, an independent runtime, on a random input. Both must agree within 1e-4 of the output's range; if they do not, one of them has an error. Please report it with the model.";
    // E3xx: data sets
    DATA_SPEC_MALFORMED "E301" Input "a data specification is malformed"
        "Data sets are named as kind:path[,key=value…]: cifar10:DIR, idx:DIR, folder:DIR, npy:FILE or voc:DIR, followed by keys such as split=test or limit=500. The message says which part does not have this form.";
    DATA_SPEC_KEY "E302" Input "a key of a data specification is unknown or out of place"
        "Each kind of data set takes certain keys: labels and layout belong to npy, set to voc, channels and letterbox to folder and voc, split to all but npy; mean, std, scale, order and resize prepare raw pixels and do not apply to float arrays. No key may stand twice.";
    DATA_SPEC_VALUE "E303" Input "a key of a data specification has no valid value"
        "The message names the key, the value and what the key takes. Lists are separated by slashes, because commas separate keys: mean=125.3/123.0/113.9.";
    DATA_KIND_LATER "E304" Input "a kind of data set is not read"
        "Boxes are read in the layout of PASCAL VOC (voc:DIR): one XML file a picture. Annotations in one COCO file are not.";
    DATA_NOT_FOUND "E305" Input "a data set's path leads nowhere"
        "A data specification names a file or folder that does not exist, or a file where a folder is needed. Relative paths start at the current folder.";
    DATA_SPLIT_MISSING "E306" Input "a data set has no such split"
        "split=train and split=test choose among the files of a set (data_batch_*.bin and test_batch.bin, train-* and t10k-*, the folders train and test or val, the lists in ImageSets/Main). The files of the chosen split are not there. IDX files must be decompressed.";
    DATA_FILE_SIZE "E307" Input "a data file's size contradicts its layout"
        "The size a file has and the size its format or header asks for differ. The file is cut short, or it is of another format. Nothing was allocated by the declared size.";
    DATA_HEADER "E308" Input "a data file's header is not of its format"
        "IDX and NumPy files begin with a magic number and a header. This file does not; often it is still compressed, or another file altogether.";
    DATA_LABEL_RANGE "E309" Input "a label is outside the classes"
        "Class numbers start at 0. CIFAR-10 has classes 0 to 9; arrays may name up to 65,536 classes.";
    DATA_LABEL_COUNT "E310" Input "there are not as many labels as images"
        "Images and labels are matched by position, so both files must come from one set.";
    DATA_EMPTY "E311" Input "a data set holds no images"
        "The files or folders are in place but hold nothing that can be used.";
    DATA_TOO_LARGE "E312" Input "a data set does not fit in memory"
        "Data sets are held in memory whole. Use limit= for fewer images or resize= for smaller ones.";
    IMAGE_UNREADABLE "E313" Input "a picture cannot be decoded"
        "PNG and JPEG pictures are read, recognised by content. All unreadable pictures of a folder are listed together, so that they can be removed or repaired at once.";
    IMAGE_SIZES "E314" Input "pictures differ in size"
        "A network takes images of one extent. Add resize=HxW to bring all pictures to the network's own.";
    NPY_TYPE "E315" Input "an array's element type is not supported"
        "Images may be uint8 (raw pixels, prepared with mean, std and scale) or any of int8, uint16, int16, uint32, int32, int64, float32, float64 (network inputs as they are); labels any of the integer types; all little-endian.";
    NPY_SHAPE "E316" Input "an array's axes do not describe images or labels"
        "Images are stored as number, channel, row, column (or number, row, column, channel with layout=nhwc), grey images as number, row, column, vectors as number, element; labels as one axis. Row-major order is needed.";
    DATA_NOT_FINITE "E317" Input "an array holds a value that is not finite"
        "NaN or an infinity in the data would make every result that depends on it meaningless.";
    DATA_CHANNELS "E318" Input "the preparation does not fit the images' channels"
        "mean and std need one value, or one a channel; order=bgr and resize need pictures. Where the specification gives none of them, those stored in the model at training hold.";
    DATA_SHAPE "E319" Input "the images do not have the extent of the network's input"
        "Both extents are given as channels x rows x columns. resize= changes rows and columns; the number of channels must agree by itself.";
    DATA_CLASSES "E320" Input "a label has no output of the network"
        "The network gives one output a class, and the data name a class beyond the last.";
    DATA_NO_LABELS "E321" Input "labels are needed and there are none"
        "Accuracy and training against labels need the class of each image. Training by distillation (--loss distill) and calibration do without.";
    ANNOTATION_MALFORMED "E322" Input "an annotation cannot be read"
        "Annotations are XML files in PASCAL VOC's form: an `annotation` with an `object` for each object, which has a `name`, optionally `difficult`, and a `bndbox` of `xmin`, `ymin`, `xmax` and `ymax` in pixels. All malformed annotations of a set are listed together.";
    ANNOTATION_OUTSIDE "E323" Input "an annotation does not fit its picture"
        "A box reaches more than a pixel over the picture's edge, or the annotation states another extent than the picture has: the picture was resized or turned after it was annotated, or belongs to another annotation.";
    BOX_DEGENERATE "E324" Input "boxes without area were left out"
        "A warning: boxes whose right or lower side does not lie beyond the left or upper one mark nothing that could be found. They are counted and left out.";
    DATA_MIXED "E325" Input "pictures lie beside the folders of classes"
        "A folder holds either one folder of pictures a class, or pictures without labels, but not both: it would be unclear which class the pictures beside the folders have.";
    // E4xx: training
    NOT_A_CLASSIFIER "E400" Input "the network does not end in one vector of classes"
        "Training against labels and evaluation by accuracy need a network whose only output is a vector with one element a class. A softmax at the end is fine: the loss is taken on what it reads. Any other network is trained by distillation of its raw outputs: --loss auto or distill.";
    BAD_LEVELS "E401" Input "the list of levels is not valid"
        "--levels takes the sparsity of each level in percent, in any order and each once: the share of the prunable weights that the level leaves out, from 0 (the dense network) to below 100. Sixteen levels are the most. With --allocation macs and --method width they are shares of the network's multiply-accumulates, of which those in layers that are not pruned cannot be left out.";
    IMAGE_SHAPE "E402" Input "the images do not fit the network's input"
        "The images have another number of channels, rows or columns than the network's input. The data key `resize=HxW` scales pictures; the number of channels cannot be changed.";
    CLASS_COUNT "E403" Input "the data set has another number of classes than the network"
        "Accuracy and cross-entropy compare the network's outputs with labels one to one, so there must be as many outputs as classes. A network with one output more than there are classes often has a background class; such labels must be shifted in the data set.";
    LABEL_RANGE "E404" Input "a label names a class that the network does not have"
        "A label is not below the number of the network's outputs. Labels count from 0.";
    TOO_FEW_IMAGES "E405" Input "there are fewer training images than a batch holds"
        "Training takes whole batches only, so it would not make a single step. Batch normalisation also needs batches of some size; 32 images or more are advised.";
    NO_LABELS "E406" Input "the loss needs labels and the data have none"
        "--loss labels compares with labels. Without labels, --loss distill (or auto) trains every level towards the given network's own outputs on the same images.";
    NOTHING_TO_PRUNE "E407" Input "the network has no weights to prune"
        "Levels leave out weights of convolutions that are not grouped, the first one excepted. The first convolution, depthwise convolutions and the classifier have few weights that matter much; they stay dense.";
    DIVERGED "E408" Input "the loss is no longer a number"
        "The weights have grown without bound, which happens when the learning rate is too high for this network, batch size or data. Nothing is written but the checkpoint of the epoch before. Lower --lr; without --resume training begins anew.";
    CHECKPOINT_CORRUPT "E410" Input "the checkpoint is damaged"
        "The file does not have the layout of a checkpoint or does not match its own checksum. nestc replaces checkpoints as a whole, so a damaged one comes from elsewhere: another program, a full disk under another path, a bad transfer. Delete it or train without --resume.";
    CHECKPOINT_MISMATCH "E411" Input "the checkpoint belongs to another run"
        "A resumed run must end bit-identical to an unbroken one, so options, network and data must be those that the checkpoint was written with. Threads may differ. Each difference is reported with both values.";
    // E5xx: quantising, encoding, planning
    CALIBRATION_SYNTHETIC "E500" Input "activations were calibrated on synthetic inputs"
        "Without real inputs the ranges of activations are guessed from seeded random pictures, which costs accuracy. The program is complete and bit-exact all the same. Give real inputs with --calibrate, for instance --calibrate cifar10:DIR.";
    CALIBRATION_NOT_FINITE "E501" Input "an activation is not finite during calibration"
        "On some calibration input a value of the float network overflowed or became NaN, so it has no range that int8 could stand for. Either the weights are broken or the inputs are not prepared as the network expects: check mean=, std= and scale= of the data specification.";
    QUANTISE_UNSUPPORTED "E502" Input "a layer has no int8 form here"
        "The layer is valid, but its parameters leave what int8 arithmetic of this tool can express. The message names the layer and the value.";
    EXTENT_TOO_LARGE "E503" Input "an extent exceeds what the kernels count with"
        "Kernels count channels, rows, columns and taps in 16 bits, and entries of a weight row in 16-bit words. The message names the extent and the limit. Use a smaller input resolution or split the layer.";
    KERNEL_UNKNOWN "E504" Input "there is no such kernel to choose"
        "--kernel takes the name of a kernel for layers with weights, as the device runs it: `nestc kernels` lists them all, and the message those that can be chosen.";
    KERNEL_LAYER_UNKNOWN "E505" Input "there is no such layer to choose a kernel for"
        "--kernel LAYER=KERNEL takes the name of a convolution or fully connected layer, as the tables of `nestc compile` print it. The message lists them.";
    KERNEL_REFUSED "E506" Input "a kernel does not run the layer it was chosen for"
        "Every kernel accepts some layers only; `nestc kernels` says which, and `nestc compile --explain-kernels` prints for each layer which kernels run it, what they would cost, and why others do not run it.";
    PASS_UNKNOWN "E512" Input "there is no such pass"
        "--stop-after and --dump-after take the name of a compiler pass. The message lists them.";
    IR_INVALID "E520" Bug "a pass left a malformed program"
        "A verifier rule does not hold for what a compiler pass made or for a text form that was read. For a model that compiled up to here this is a fault of nestc: please report it with the model. The message names the rule.";
    IR_SYNTAX "E521" Input "the text form of a graph cannot be read"
        "The text form is what --dump-after prints. The message gives the line and what was expected there.";
    // E6xx: targets, emitted crates, builds, images
    TARGET_UNKNOWN "E601" Input "no such target"
        "`--target` takes the name of a board that nestc knows; `nestc targets` lists them with their memories and clocks.";
    PROGRAM_LAYOUT "E602" Input "a program's memory plan contradicts itself"
        "Two tensors that a layer needs at the same time share memory, or a tensor lies outside the arena. Programs made by `nestc compile` never do; a program file changed by hand or by another version may.";
    FLASH_OVERFLOW "E603" Input "the model does not fit into the target's flash"
        "Weights, indices and requantisation constants alone need more flash than the board has, or than --flash-budget allows. Prune more, drop the densest level, or choose a target with more flash.";
    RAM_OVERFLOW "E604" Input "the model does not fit into the target's RAM"
        "The arena (activations and scratch) must lie in one memory of the target. It needs more than the largest one has, or than --ram-budget allows. A smaller input or fewer channels in the first layers shrink it most.";
    OUTPUT_FOREIGN "E605" Input "the output folder holds something that nestc did not write"
        "nestc replaces a folder that it wrote itself (recognised by `nestc.json` in it) and leaves any other alone. Choose another folder or remove it yourself.";
    PROGRAM_FILE "E606" Input "a folder's program file cannot be read"
        "`program.bin` holds the program that the emitted crate was made from, with a version and a SHA-256; bench needs it to compare device and host. The file is missing, damaged, or written by another version of nestc. Compile the model again.";
    CARGO_MISSING "E607" Surroundings "cargo cannot be started"
        "Emitted crates are built by cargo. Install Rust from https://rustup.rs, or set CARGO to the path of cargo.";
    RUST_TARGET_MISSING "E608" Surroundings "the Rust target of the board is not installed"
        "The standard library of the board's target triple is installed by rustup.";
    BUILD_FAILED "E609" Surroundings "the emitted workspace does not build"
        "cargo reported an error; its last lines are in the message. Emitted crates are tested to build, so this points to the toolchain or to a missing network connection while crates are downloaded for the first time.";
    IMAGE_MALFORMED "E610" Surroundings "a built image is not what it should be"
        "The ELF file that cargo made lacks a section or symbol that nestc relies on, or has one outside the board's memories.";
    MODEL_NAME "E611" Input "a name cannot be used for the emitted crate"
        "The model's name becomes a crate name: lower-case letters, digits and underscores, starting with a letter, and no keyword.";
    // E7xx: emulator and bench
    BAD_ELF "E700" Input "a file is no firmware image"
        "The emulator loads ELF files for 32-bit little-endian Arm, as cargo builds them for thumbv7em-none-eabihf. The message says what was found instead.";
    IMAGE_OUTSIDE_MEMORY "E701" Input "an image does not fit the emulated memory map"
        "A segment of the ELF file lies, by its physical (load) address, outside every region of the target's memory, or crosses the end of one. The image was linked for another target, or with another memory.x. The help line lists the regions.";
    NO_VECTOR_TABLE "E702" Input "an image has no vector table where the core starts"
        "After reset the core reads its stack pointer and the address of its first instruction from the boot address. The image puts nothing there, or the entry is not the address of Thumb code (bit 0 set) in memory. Check that the vector table is kept by the linker script and placed first.";
    EMULATOR_FAULT "E703" CheckFailed "the firmware faulted in the emulator"
        "The emulated core met something that raises a fault exception on the device, or that the emulator does not model. The place names the instruction's address and the nearest symbol, the message the cause. A debugger on the device would show the same address in the stacked PC.";
    IMAGE_MISSING "E750" Input "a folder holds no image"
        "bench runs `firmware.elf` of a folder written by `nestc compile`. The folder is another one, or the build was left out or failed.";
    IMAGE_PROTOCOL "E751" Surroundings "the image does not answer as expected"
        "The bench image and nestc talk through a mailbox in RAM. Its magic number or version is not what this version of nestc writes: the image was built by another version. Compile the model again.";
    DEVICE_STOPPED "E752" Surroundings "the device stopped where it should not"
        "The image faulted, panicked or ran into its time limit. The message says where.";
    NOT_BIT_EXACT "E753" CheckFailed "device and host differ"
        "For the same input the device computed other bytes than the host's reference kernels. The message names the first layer that differs: inputs of that layer were still equal, so its kernel is at fault, or the toolchain, or the memory of the device.";
    BENCH_INPUTS "E754" Input "there are fewer inputs than asked for"
        "--verify asks for more inputs than the data set holds.";
    REPLAY_DIVERGED "E755" Surroundings "a recorded session does not fit"
        "A replayed session must ask for the same things in the same order as when it was recorded.";
    TIMING_FILE "E756" Input "a timing file does not hold what the cycle model takes"
        "A timing file (`nestc calibrate` writes them) is TOML: `name`, and any of the cycle model's constants with their values. Constants it leaves out keep the value of the setting. The message names the constant and what it may be.";
    CALIBRATION_LOG "E757" Input "a calibration log is incomplete"
        "The calibration firmware prints a line for each loop it measures, between `nestc-calibrate 1` and `done`. The message says what of it is missing. `make calibrate` runs it on a board and keeps what it prints.";
    CALIBRATION_MISFIT "E758" CheckFailed "the cycle model does not explain a measurement"
        "With the constant that fits best, the emulator takes a number of cycles for a loop of the calibration firmware that is more than 2 % off the board's: the hardware does something that the model does not know. The other constants can be used; what depends on this one is an estimate.";
    PROBE_MISSING "E760" Surroundings "there is no such debug probe"
        "`nestc bench --on probe` runs firmware on a board through a debug probe, such as the ST-LINK on a NUCLEO board. None is connected, or none that fits --probe. `nestc probes` lists what is connected; a probe that is not listed has no power, hangs on a cable without data wires, or is of a kind that probe-rs does not know.";
    PROBE_AMBIGUOUS "E761" Surroundings "several debug probes fit"
        "More than one debug probe is connected, and firmware must not be written to the wrong board. Name one with --probe VID:PID, or with --probe VID:PID:SERIAL if they are of one kind; `nestc probes` prints the names.";
    PROBE_REFUSED "E762" Surroundings "a debug probe cannot be used"
        "The probe is there but cannot be opened: this user lacks the right to (on Linux a udev rule gives it: see docs/probe.md), another program holds it, or its own firmware does not answer as it should.";
    PROBE_LOST "E763" Surroundings "the debug probe went away"
        "The USB connection to the probe ended in the middle: it was unplugged, its hub lost power, or it reset itself. A flash that was being written is written anew the next time.";
    CHIP_SILENT "E764" Surroundings "the chip does not answer"
        "The probe works, but the chip's debug port does not answer, or does not any more: the board has no power, a wire (SWDIO, SWCLK, GND, NRST) is loose, or firmware has taken the debug pins. nestc tries once more with the chip held in reset. What the probe measures at the supply is in the message if the probe can measure it.";
    CHIP_LOCKED "E765" Surroundings "the chip is locked"
        "The chip protects its flash from being read or written through the debug port (STM32: read-out protection, RDP). Taking the protection off erases the flash, so nestc never does it by itself; the vendor's tool does. RDP level 2 cannot be taken off.";
    CHIP_DIFFERS "E766" Surroundings "the chip is not the board's"
        "nestc reads the core's and the chip's own identification numbers before it writes anything, and compares them with the board that the image was compiled for. Clocks, memories and instructions differ between chips: an image for another one would not run. Nothing was written.";
    CHIP_UNKNOWN "E767" Input "there is no such chip"
        "--chip takes a chip's name as probe-rs has it (`probe-rs chip list`). Without --chip the board's own is taken, which is right for all chips of its kind.";
    FLASH_FAILED "E768" Surroundings "the flash could not be written"
        "Erasing, writing or reading back the flash failed; the message says where and how. After writing, nestc reads all of the image back and compares every byte. Common causes are write protection, a weak supply and worn-out flash.";
    CORE_STUCK "E769" Surroundings "the core does not do what the probe asks for"
        "The debug port answers, but the core does not reset, halt, start or give its registers. Reset the board or switch it off and on; a slower wire (--speed 500) helps where wires are long.";
    DEVICE_MEMORY "E770" Surroundings "the chip refuses access to its memory"
        "The probe asked for an address that nothing answers at. Addresses come from the image, so the chip is another than the board's, or the memory has no clock or is protected.";
    DEVICE_LATE "E771" Surroundings "the image does not come to its breakpoint in time"
        "After each command the image stops at a breakpoint, for which --timeout (30 seconds without it) allows. The message says where the core stood. Outside the image means that the chip started something else, such as its boot loader.";
    WIRE_FAULT "E772" Surroundings "the wire to the chip does not carry its speed"
        "What the chip answered was damaged on the way, or the probe has no such speed. Shorten the wires, run a ground beside the clock, or lower --speed. Every word that is transferred has a parity bit, and results are compared with the host: damaged ones are not taken for results.";
    TRANSCRIPT "E773" Input "a recorded session cannot be read"
        "`nestc bench --on replay:FILE` plays a session that `nestc bench --on probe --record FILE` wrote: all that was read, written and run on the board. The file is of another kind, damaged, or of another version of the format.";
    // E8xx: detection
    HEAD_MALFORMED "E800" Input "a detection head is malformed"
        "--head names what a detection network's outputs mean, as kind[,key=value…]: fastestdet, ultraface, ssd or yolo, followed by keys such as classes=person/car or score=0.3. The message says which part does not have this form.";
    HEAD_MISFIT "E801" Input "a detection head does not fit the network's outputs"
        "The kind of head and the number of classes fix how many outputs there are and how many channels each has. The message gives what the head needs and what the network has.";
    HEAD_MISSING "E802" Input "it is not known what a detection network's outputs mean"
        "The data hold boxes, and the model was not trained with a --head that could be taken from it. Name it with --head; `nestc train` keeps it in the model.";
    NO_COMMON_CLASS "E803" Input "network and data name different classes"
        "Boxes are compared class by class, by name. None of the names in the data is one of the network's; give the network's own names, in its order, with classes= in --head.";
    CLASSES_LEFT_OUT "E804" Input "objects of some classes are left out"
        "A warning: the data hold objects of classes that the network does not name. They count neither for nor against it.";
    NO_BOXES "E805" Input "boxes are needed and there are none"
        "Average precision compares boxes that are found with boxes that are there. Use data with annotations: voc:DIR.";
    // E9xx: studies
    STUDY_MISMATCH "E900" Input "a study's folder holds results of other options or data"
        "A study keeps every run that is done and makes only what is missing, so all results in its folder must belong to the same network, images and options. The message names each difference. Nothing was overwritten.";
    STUDY_DAMAGED "E901" Input "a result in a study's folder is missing or damaged"
        "A study's run is a model and a record of it with the model's checksum; a measurement lies beside them. One of these files is not there, was cut short, or was replaced by another. Delete the files of that run; the study makes them again.";
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which finding this is.
    pub code: Code,
    /// Where: a file, node, option or layer.
    pub place: String,
    /// What clashes, with both values.
    pub message: String,
    /// What to do about it, computed from the values.
    pub hint: String,
}

impl Diagnostic {
    /// A finding at `place`.
    pub fn new(
        code: Code,
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            place: place.into(),
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The operating system refused `action` on `path`.
    pub fn io(path: &std::path::Path, action: &str, error: &std::io::Error) -> Self {
        let (code, hint) = if error.kind() == std::io::ErrorKind::NotFound {
            (NO_SUCH_FILE, "check the spelling and the folder you are in")
        } else {
            (
                IO_FAILED,
                "check the path, its permissions and the free space",
            )
        };
        let place = path.display().to_string();
        Self::new(code, place, format!("cannot {action}: {error}"), hint)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error[{}]: {}\n  --> {}\n  help: {}",
            self.code, self.message, self.place, self.hint
        )
    }
}

/// All findings of one step, never empty when used as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a finding.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// `Ok(value)` if nothing was found, all findings otherwise.
    pub fn into_result<T>(self, value: T) -> Result<T, Diagnostics> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }

    /// The process exit code: the most severe class among the findings.
    pub fn exit_code(&self) -> u8 {
        self.0
            .iter()
            .map(|d| d.code.info().exit)
            .max()
            .map_or(0, ExitClass::code)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// The result of everything that reads input.
pub type Result<T, E = Diagnostics> = std::result::Result<T, E>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_explained() {
        for pair in CODES.windows(2) {
            assert!(
                pair[0].code < pair[1].code,
                "{} before {}",
                pair[0].code,
                pair[1].code
            );
        }
        for row in CODES {
            assert!(
                row.explanation.len() > row.title.len(),
                "{} needs an explanation",
                row.code
            );
        }
    }

    #[test]
    fn exit_code_is_the_most_severe() {
        let mut all = Diagnostics::default();
        assert_eq!(all.exit_code(), 0);
        all.push(Diagnostic::new(BAD_ARGUMENT, "--x", "m", "h"));
        assert_eq!(all.exit_code(), 2);
        all.push(Diagnostic::new(IO_FAILED, "f", "m", "h"));
        assert_eq!(all.exit_code(), 3);
    }
}
