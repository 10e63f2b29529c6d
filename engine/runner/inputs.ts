export interface InputBuffers {
  readonly identity: GPUBuffer;
  readonly tokenIds: GPUBuffer;
  readonly slots: GPUBuffer;
  readonly rowInfo: GPUBuffer;
  readonly logitRows: GPUBuffer;
  readonly tables: GPUBuffer;
}
