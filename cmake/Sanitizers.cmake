if(LEVADA_SANITIZE)
  add_compile_options(-fsanitize=${LEVADA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${LEVADA_SANITIZE})
  if(LEVADA_SANITIZE MATCHES address)
    # ASan finds by the access what these find by the pointer, and they are a third of the compile time.
    add_compile_options(-fno-sanitize=null,object-size,vptr)
  endif()
endif()
