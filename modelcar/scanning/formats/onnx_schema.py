"""The messages of ONNX, as far as IR version 14. Source: onnx.proto of https://github.com/onnx/onnx."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.protobuf import Schema, fields_of

__all__ = ["ELEMENT_BITS", "SCHEMA"]

SCHEMA: Final[Schema] = {
    "Model": fields_of(
        "1 ir_version int, 2 producer_name bytes, 3 producer_version bytes, 4 domain bytes, 5 model_version int,"
        "6 doc_string bytes, 7 graph Graph, 8 opset_import OperatorSetId, 14 metadata_props Entry,"
        "20 training_info TrainingInfo, 25 functions Function, 26 configuration DeviceConfiguration"
    ),
    "Graph": fields_of(
        "1 node Node, 2 name bytes, 5 initializer Tensor, 10 doc_string bytes, 11 input ValueInfo, 12 output ValueInfo,"
        "13 value_info ValueInfo, 14 quantization_annotation TensorAnnotation, 15 sparse_initializer SparseTensor,"
        "16 metadata_props Entry"
    ),
    "Node": fields_of(
        "1 input bytes, 2 output bytes, 3 name bytes, 4 op_type bytes, 5 attribute Attribute, 6 doc_string bytes,"
        "7 domain bytes, 8 overload bytes, 9 metadata_props Entry, 10 device_configurations NodeDeviceConfiguration"
    ),
    "Attribute": fields_of(
        "1 name bytes, 2 f fixed32, 3 i int, 4 s bytes, 5 t Tensor, 6 g Graph, 7 floats fixed32, 8 ints int,"
        "9 strings bytes, 10 tensors Tensor, 11 graphs Graph, 13 doc_string bytes, 14 tp Type, 15 type_protos Type,"
        "20 type int, 21 ref_attr_name bytes, 22 sparse_tensor SparseTensor, 23 sparse_tensors SparseTensor"
    ),
    "Tensor": fields_of(
        "1 dims int, 2 data_type int, 3 segment Segment, 4 float_data fixed32, 5 int32_data int, 6 string_data bytes,"
        "7 int64_data int, 8 name bytes, 9 raw_data bytes, 10 double_data fixed64, 11 uint64_data int,"
        "12 doc_string bytes, 13 external_data Entry, 14 data_location int, 16 metadata_props Entry"
    ),
    "Function": fields_of(
        "1 name bytes, 4 input bytes, 5 output bytes, 6 attribute bytes, 7 node Node, 8 doc_string bytes,"
        "9 opset_import OperatorSetId, 10 domain bytes, 11 attribute_proto Attribute, 12 value_info ValueInfo,"
        "13 overload bytes, 14 metadata_props Entry"
    ),
    "SparseTensor": fields_of("1 values Tensor, 2 indices Tensor, 3 dims int"),
    "Segment": fields_of("1 begin int, 2 end int"),
    "Entry": fields_of("1 key bytes, 2 value bytes"),
    "OperatorSetId": fields_of("1 domain bytes, 2 version int"),
    "ValueInfo": fields_of("1 name bytes, 2 type Type, 3 doc_string bytes, 4 metadata_props Entry"),
    "TensorAnnotation": fields_of("1 tensor_name bytes, 2 quant_parameter_tensor_names Entry"),
    "TrainingInfo": fields_of(
        "1 initialization Graph, 2 algorithm Graph, 3 initialization_binding Entry, 4 update_binding Entry"
    ),
    "Type": fields_of(
        "1 tensor_type TypeTensor, 4 sequence_type TypeOfOne, 5 map_type TypeMap, 6 denotation bytes,"
        "7 opaque_type TypeOpaque, 8 sparse_tensor_type TypeTensor, 9 optional_type TypeOfOne"
    ),
    "TypeTensor": fields_of("1 elem_type int, 2 shape Shape"),
    "TypeOfOne": fields_of("1 elem_type Type"),
    "TypeMap": fields_of("1 key_type int, 2 value_type Type"),
    "TypeOpaque": fields_of("1 domain bytes, 2 name bytes"),
    "Shape": fields_of("1 dim Dimension"),
    "Dimension": fields_of("1 dim_value int, 2 dim_param bytes, 3 denotation bytes"),
    "DeviceConfiguration": fields_of("1 name bytes, 2 num_devices int, 3 device bytes"),
    "NodeDeviceConfiguration": fields_of("1 configuration_id bytes, 2 sharding_spec Sharding, 3 pipeline_stage int"),
    "Sharding": fields_of(
        "1 tensor_name bytes, 2 device int, 3 index_to_device_group_map IntIntList, 4 sharded_dim ShardedDim"
    ),
    "IntIntList": fields_of("1 key int, 2 value int"),
    "ShardedDim": fields_of("1 axis int, 2 simple_sharding SimpleSharding"),
    "SimpleSharding": fields_of("1 dim_value int, 2 dim_param bytes, 3 num_shards int"),
}

# TensorProto.DataType: bits an element takes in raw data; 8 is text, which has none
ELEMENT_BITS: Final = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 14: 64, 15: 128, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8, 25: 2, 26: 2,
}  # fmt: skip
