// SPDX-License-Identifier: Apache-2.0
// The HDF5 clothing of a shard file: the only home of <hdf5.h>, and it never touches the disk.
// h5_skeleton() lets libhdf5 build the whole file in memory without any data (contiguous datasets,
// allocated early, never filled) and hands out where each dataset's bytes belong and what all the
// bytes around them are. The caller writes both through Storage. So h5dump, h5py and MATLAB read a
// shard, while neither our speed nor our error handling nor our safety depends on libhdf5, which
// reports success after ENOSPC and crashes on hostile files. Nothing here reads a file.
// Thread-safe (one caller at a time inside libhdf5). bf16, f16 and f8_e4m3 are HDF5 floats with the
// matching bit fields.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"

namespace tessera {

struct H5Dataset {
  std::string path;  // "/param/model.norm.weight"; groups are made as needed
  DType dtype;
  std::vector<int64_t> extent;        // no zeros: an empty dataset would have no place in the file
  std::vector<int64_t> global_shape;  // attribute "global_shape"
  std::vector<int64_t> offset;        // attribute "offset": of this box in the global tensor
};

struct H5Skeleton {
  struct Piece {
    int64_t offset;
    std::string bytes;
  };
  int64_t file_bytes = 0;
  std::vector<int64_t> data_offset;  // of each dataset, in the order given
  std::vector<Piece> pieces;         // every byte outside the datasets, by increasing offset
};

// `attributes` become string attributes of the root group. Throws Error{internal} when libhdf5
// refuses (two datasets of one path, say), Error{storage} when files are limited to less than this.
H5Skeleton h5_skeleton(const std::vector<H5Dataset>& datasets,
                       const std::map<std::string, std::string>& attributes);

}  // namespace tessera
