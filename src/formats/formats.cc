#include "levada/formats.h"

#include "formats/json_parser.h"
#include "formats/json_writer.h"

namespace levada {

Format json() {
  return {"json", &formats::make_json_parser, &formats::make_json_writer};
}

}  // namespace levada
