"""The flags of the server."""

from typing import NamedTuple

OFF = -1  # instead of a port: do not open one


class Options(NamedTuple):
    """What to serve, and how: the flags of TensorFlow Serving's model server, by their names.

    `directory`, `model_config_file` or `model_base_path` says what to serve; the second comes before the third. Port 0 takes a
    free one, and -1 turns that front end off.
    """

    directory: str | None = None
    model_name: str = "default"
    model_base_path: str | None = None
    model_config_file: str | None = None
    model_config_file_poll_wait_seconds: float = 0.0
    host: str = "127.0.0.1"
    port: int = 8500
    rest_api_port: int = 8501
    rest_api_timeout_in_ms: int = 30_000
    rest_api_enable_cors_support: bool = False
    file_system_poll_wait_seconds: float = 1.0
    enable_batching: bool = True
    batching_parameters_file: str | None = None
    monitoring_config_file: str | None = None
    ssl_config_file: str | None = None
    enable_model_warmup: bool = True
    enable_serialization_as_tensor_content: bool = False
    allow_version_labels_for_unavailable_models: bool = False
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    grpc_socket_path: str | None = None
    grpc_channel_arguments: str | None = None
    grpc_max_threads: int = 64
    use_alts_credentials: bool = False
    enable_grpc_healthcheck_service: bool = True
    enable_profiler: bool = True
    enable_per_model_batching_parameters: bool = False
    num_load_threads: int = 0
    num_request_iterations_for_warmup: int = 1
    saved_model_tags: str = "serve"
    prefer_tflite_model: bool = False
    enable_signature_method_name_check: bool = False
    tensorflow_session_config_file: str | None = None
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    per_process_gpu_memory_fraction: float = 0.0
    workers: int = 1
    end_with_stdin: bool = False
    # Of REST, beyond TensorFlow Serving
    rest_api_max_url_bytes: int = 1 << 16
    rest_api_max_header_bytes: int = 1 << 16
    rest_api_max_body_bytes: int = 1 << 30
    rest_api_max_connections: int = 4096
    rest_api_head_timeout_in_ms: int = 20_000
    rest_api_body_timeout_in_ms: int = 300_000
    rest_api_idle_timeout_in_ms: int = 75_000
    rest_api_ssl_config_file: str | None = None
    rest_api_access_log: bool = False
    auth_token_file: str | None = None
