if(LEVADA_SANITIZE)
  add_compile_options(-fsanitize=${LEVADA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LEVADA_SANITIZE})
endif()
