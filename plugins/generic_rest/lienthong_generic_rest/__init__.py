"""An office that speaks REST, described by a mapping file instead of by code.

The mapping: ``schema`` has its keys, ``mapping`` loads it, ``mistakes`` finds lines and words for what is wrong in it,
``templates`` its placeholders, ``expressions`` its JMESPath. The exchange: ``rest`` has the hooks, ``offers`` what is
fetched, ``calls`` one call, ``bodies`` what is sent, ``wire`` turns the office's JSON into documents and statuses.
"""
